"""Functions of text and regular expressions."""

from __future__ import annotations

from sqlstream.functions import formats, text_rows, unicode
from sqlstream.functions import regular_expressions as patterns
from sqlstream.functions.numbers import once
from sqlstream.functions.regular_expressions import constant
from sqlstream.functions.scalar_function import Nulls, ScalarFunction, Template, Text, alias, function
from sqlstream.types import BIGINT, BOOLEAN, BYTES_TYPE, INT, STRING, SYMBOL, Type, array, map_of


def _concat(args: list[str], types: list[Type], result: Type) -> str:
    """In halves: DuckDB bounds how deep a chain of || may be."""
    if len(args) < 3:
        return f"({' || '.join(args)})"
    half = len(args) // 2
    return f"({_concat(args[:half], types, result)} || {_concat(args[half:], types, result)})"


def _concat_ws(args: list[str], types: list[Type], result: Type) -> str:
    return f"CASE WHEN {args[0]} IS NULL THEN NULL ELSE concat_ws({', '.join(args)}) END"


def _substring(args: list[str], types: list[Type], result: Type) -> str:
    """Flink: position 0 is the first character, one before the text gives '', a negative length NULL."""
    if all(a.isdigit() and a != "0" for a in args[1:]):
        return f"substring({', '.join(args)})"
    return f"flink_substring({args[0]}, {args[1]}, {args[2] if len(args) > 2 else 2147483647})"


def _end(name: str) -> Template:
    """LEFT and RIGHT: of a length below 0 nothing (DuckDB counts from the other end)."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        length = args[1] if args[1].isdigit() else f"CASE WHEN {args[1]} < 0 THEN 0 ELSE {args[1]} END"
        return f"{name}({args[0]}, {length})"

    return sql


def _replace(args: list[str], types: list[Type], result: Type) -> str:
    """Java finds the empty text before each character and at the end."""
    call = f"replace({', '.join(args)})"
    if constant(args[1]):
        return call
    s, old, new = args
    each = f"array_to_string(list_transform(str_split({s}, ''), lambda letter: letter || {new}), '')"
    return f"CASE WHEN {old} = '' THEN {new} || CASE WHEN {s} = '' THEN '' ELSE {each} END ELSE {call} END"


def _padded(name: str) -> Template:
    """No padding, or a negative length: NULL."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        call = f"{name}({', '.join(args)})"
        if args[1].isdigit() and args[2][:1] == "'" and args[2] != "''":
            return call
        return f"CASE WHEN {args[1]} >= 0 AND {args[2]} <> '' THEN {call} END"

    return sql


# Words are runs of ASCII letters and digits; what stands between them stays as it is.
_INITCAP = (
    "CASE WHEN {0} = '' THEN '' ELSE list_aggregate(list_transform(regexp_extract_all({0}, '[A-Za-z0-9]+|[^A-Za-z0-9]+'), "
    "lambda x: CASE WHEN regexp_matches(x, '^[A-Za-z]') THEN upper(x[1]) || lower(x[2:]) "
    "WHEN regexp_matches(x, '^[0-9]') THEN lower(x) ELSE x END), 'string_agg', '') END"
)


def _split_index(args: list[str], types: list[Type], result: Type) -> str:
    """With a constant index the split is a common subexpression of all calls over one string.

    An empty text has no parts. An empty separator means white space.
    """
    separator = constant(args[1])
    if separator == "":
        return f"regexp_split_to_array(nullif({args[0]}, ''), '\\s')[CASE WHEN {args[2]} >= 0 THEN CAST({args[2]} AS BIGINT) + 1 END]"
    if args[2].isdigit() and separator is not None:
        text = f"nullif({args[0]}, '')" if args[2] == "0" else args[0]
        return f"str_split({text}, {args[1]})[{int(args[2]) + 1}]"
    return f"flink_split_index({', '.join(args)})"


_SPACE = "' '"
_TRIMS = {"BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}


def _trimmed(side: str) -> Text:
    def sql(args: list[str], types: list[Type], result: Type) -> str:
        return f"{_TRIMS[side]}({args[0]}, {args[1] if len(args) > 1 else _SPACE})"

    return sql


def _trim(args: list[str], types: list[Type], result: Type) -> str:
    """TRIM(text, characters, side): the last two may be missing."""
    return _trimmed(args[2] if len(args) > 2 else "BOTH")(args[:2], types, result)


def _position(args: list[str], types: list[Type], result: Type) -> str:
    """Where a text is in another, from a place on (before the first: from the first)."""
    if len(args) == 2:
        return f"CAST(instr({args[1]}, {args[0]}) AS INTEGER)"
    return f"flink_position({', '.join(args)})"


def _elt(args: list[str], types: list[Type], result: Type) -> str:
    given = " ".join(f"WHEN {i} THEN {a}" for i, a in enumerate(args[1:], 1))
    return f"CASE {args[0]} {given} END"


def _overlay(args: list[str], types: list[Type], result: Type) -> str:
    """As much is replaced as is written, unless it is said how much. Nothing where it would begin outside the text."""
    text, new, start = args[:3]
    length = args[3] if len(args) > 3 else f"length({new})"
    rest = f"CASE WHEN {length} > 0 THEN substring({text}, CAST({start} AS BIGINT) + {length}) ELSE '' END"
    return (
        f"CASE WHEN {start} <= 0 OR {start} > length({text}) THEN {text} "
        f"WHEN {length} IS NOT NULL THEN substring({text}, 1, {start} - 1) || {new} || {rest} END"
    )


def _split(args: list[str], types: list[Type], result: Type) -> str:
    """An empty text has no parts."""
    return f"CASE WHEN {args[1]} IS NULL THEN NULL WHEN {args[0]} = '' THEN CAST([] AS VARCHAR[]) ELSE str_split({args[0]}, {args[1]}) END"


def _translate(args: list[str], types: list[Type], result: Type) -> str:
    """Letters that are NULL are none."""
    return f"translate({args[0]}, coalesce({args[1]}, ''), coalesce({args[2]}, ''))"


def _sha2(args: list[str], types: list[Type], result: Type) -> str:
    return f"sha256({args[0]})" if args[1] == "256" else text_rows.SHA2.called(args)


def _digest(bits: int) -> Text:
    return lambda args, types, result: text_rows.SHA2.called([args[0], str(bits)])


# Java writes a blank as +, leaves * and not ~ as it is.
_URL_ENCODE = "replace(replace(replace(url_encode({0}), '%20', '+'), '%2A', '*'), '~', '%7E')"


def _url_decode(args: list[str], types: list[Type], result: Type) -> str:
    """NULL where a % is not followed by two digits."""

    def decoded(x: str) -> str:
        quick = f"TRY(url_decode(replace({x}, '+', ' ')))"
        return f"CASE WHEN regexp_full_match({x}, '(?s:[^%]|%[0-9a-fA-F][0-9a-fA-F])*') THEN coalesce({quick}, {text_rows.URL_DECODE.called([x])}) END"

    return once(args[0], decoded)


def _parse_url(args: list[str], types: list[Type], result: Type) -> str:
    return (text_rows.PARSE_URL if len(args) == 2 else text_rows.PARSE_URL_KEY).called(args)


def _inet_ntoa(args: list[str], types: list[Type], result: Type) -> str:
    n = args[0]
    parts = " || '.' || ".join(f"CAST(({n} >> {bits}) & 255 AS VARCHAR)" for bits in (24, 16, 8, 0))
    return f"CASE WHEN {n} BETWEEN 0 AND 4294967295 THEN {parts} END"


def _str_to_map(args: list[str], types: list[Type], result: Type) -> str:
    return text_rows.STR_TO_MAP.called(args if len(args) == 3 else [args[0], "','", "'='"])


_S, _I = STRING, INT


# Java's decoder does without padding.
_FROM_BASE64 = "decode(from_base64(rpad({0}, CAST((length({0}) + 3) // 4 * 4 AS INTEGER), '=')))"

_LENGTH = function("CHAR_LENGTH", (_S,), _I, "CAST(length({0}) AS INTEGER)", "CHAR_LENGTH('añb')")
_LOWER = function("LOWER", (_S,), _S, unicode.lower, "LOWER('AbC')", python=(unicode.LOWER_TEXTS,), light=True)
_UPPER = function("UPPER", (_S,), _S, unicode.upper, "UPPER('AbC')", python=(unicode.UPPER_TEXTS,), light=True)
_SUBSTRING = function("SUBSTRING", (_S, _I, _I), _S, _substring, "SUBSTRING('hello', 2, 3)", least=2)

FUNCTIONS = (
    _LOWER,
    alias("LCASE", _LOWER, "LCASE('AbC')"),
    _UPPER,
    alias("UCASE", _UPPER, "UCASE('AbC')"),
    _LENGTH,
    alias("CHARACTER_LENGTH", _LENGTH, "CHARACTER_LENGTH('abc')"),
    function("OCTET_LENGTH", (_S,), _I, "CAST(strlen({0}) AS INTEGER)", "OCTET_LENGTH('añb')"),
    _SUBSTRING,
    alias("SUBSTR", _SUBSTRING, "SUBSTR('hello', 2, 3)"),
    function("LEFT", (_S, _I), _S, _end("left"), "LEFT('hello', 2)"),
    function("RIGHT", (_S, _I), _S, _end("right"), "RIGHT('hello', 2)"),
    function("REPLACE", (_S, _S, _S), _S, _replace, "REPLACE('hello', 'l', 'L')"),
    function("||", (_S, _S), _S, "({0} || {1})", "'a' || 'b'", operator=True),
    function("CONCAT", (_S,), _S, _concat, "CONCAT('a', 'b')", most=None),
    function("CONCAT_WS", (_S,), _S, _concat_ws, "CONCAT_WS('-', 'a', 'b')", least=2, most=None),
    function("LPAD", (_S, _I, _S), _S, _padded("lpad"), "LPAD('hi', 4, '??')", nulls=Nulls.MAYBE),
    function("RPAD", (_S, _I, _S), _S, _padded("rpad"), "RPAD('hi', 4, '??')", nulls=Nulls.MAYBE),
    function("REPEAT", (_S, _I), _S, "repeat({0}, {1})", "REPEAT('ab', 3)"),
    function("REVERSE", (_S,), _S, unicode.reverse, "REVERSE('abc')"),
    function("INITCAP", (_S,), _S, _INITCAP, "INITCAP('hello wORLD')"),
    function("TRIM", (_S, _S, SYMBOL), _S, _trim, "TRIM('  a ')", least=1),
    function("LTRIM", (_S, _S), _S, _trimmed("LEADING"), "LTRIM('  a ')", least=1),
    function("RTRIM", (_S, _S), _S, _trimmed("TRAILING"), "RTRIM(' a  ')", least=1),
    function("POSITION", (_S, _S, _I), _I, _position, "POSITION('l' IN 'hello')", least=2),
    function("LOCATE", (_S, _S, _I), _I, _position, "LOCATE('l', 'hello')", least=2),
    function("INSTR", (_S, _S), _I, "CAST(instr({0}, {1}) AS INTEGER)", "INSTR('hello', 'l')"),
    function("STARTSWITH", (_S, _S), BOOLEAN, "starts_with({0}, {1})", "STARTSWITH('hello', 'he')"),
    function("ENDSWITH", (_S, _S), BOOLEAN, "ends_with({0}, {1})", "ENDSWITH('hello', 'lo')"),
    function("SPLIT_INDEX", (_S, _S, _I), _S, _split_index, "SPLIT_INDEX('a/b/c', '/', 1)", nulls=Nulls.MAYBE),
    function("ASCII", (_S,), _I, "flink_ascii({0})", "ASCII('a')"),
    function("CHR", (BIGINT,), _S, "CASE WHEN {0} < 0 THEN '' ELSE chr(CAST({0} % 256 AS INTEGER)) END", "CHR(97)"),
    function("MD5", (_S,), _S, "md5({0})", "MD5('abc')"),
    function("SHA256", (_S,), _S, "sha256({0})", "SHA256('abc')"),
    function("TO_BASE64", (_S,), _S, "to_base64(encode({0}))", "TO_BASE64('hello')"),
    function("FROM_BASE64", (_S,), _S, _FROM_BASE64, "FROM_BASE64('aGVsbG8=')"),
    function("BTRIM", (_S, _S), _S, _trimmed("BOTH"), "BTRIM('  a ')", least=1),
    function("ELT", (_I, _S), _S, _elt, "ELT(2, 'a', 'b')", least=2, most=None, nulls=Nulls.MAYBE),
    function("TRANSLATE", (_S, _S, _S), _S, _translate, "TRANSLATE('hello', 'lo', 'L')"),
    function("OVERLAY", (_S, _S, _I, _I), _S, _overlay, "OVERLAY('abcdef' PLACING 'x' FROM 2 FOR 3)", least=3),
    function("SPLIT", (_S, _S), array(_S), _split, "SPLIT('a,b', ',')"),
    function("STR_TO_MAP", (_S, _S, _S), map_of(_S, _S), _str_to_map, "STR_TO_MAP('a=1,b=2')", least=1, python=(text_rows.STR_TO_MAP,)),
    function("SHA1", (_S,), _S, "sha1({0})", "SHA1('abc')"),
    function("SHA224", (_S,), _S, _digest(224), "SHA224('abc')", python=(text_rows.SHA2,)),
    function("SHA384", (_S,), _S, _digest(384), "SHA384('abc')", python=(text_rows.SHA2,)),
    function("SHA512", (_S,), _S, _digest(512), "SHA512('abc')", python=(text_rows.SHA2,)),
    function("SHA2", (_S, _I), _S, _sha2, "SHA2('abc', 256)", python=(text_rows.SHA2,)),
    function("ENCODE", (_S, _S), BYTES_TYPE, lambda a, t, r: text_rows.ENCODE.called(a), "ENCODE('a', 'UTF-8')", python=(text_rows.ENCODE,)),
    function("DECODE", (BYTES_TYPE, _S), _S, lambda a, t, r: text_rows.DECODE.called(a), "DECODE(X'61', 'UTF-8')", python=(text_rows.DECODE,)),
    function("URL_ENCODE", (_S,), _S, _URL_ENCODE, "URL_ENCODE('a b')"),
    function("URL_DECODE", (_S,), _S, _url_decode, "URL_DECODE('a+b')", nulls=Nulls.MAYBE, python=(text_rows.URL_DECODE,)),
    function("PARSE_URL", (_S, _S, _S), _S, _parse_url, "PARSE_URL('http://a.b/c?k=1', 'HOST')", least=2, nulls=Nulls.MAYBE,
             python=(text_rows.PARSE_URL, text_rows.PARSE_URL_KEY)),
    function("INET_ATON", (_S,), BIGINT, lambda a, t, r: text_rows.INET_ATON.called(a), "INET_ATON('10.0.0.1')", nulls=Nulls.MAYBE, python=(text_rows.INET_ATON,)),
    function("INET_NTOA", (BIGINT,), _S, _inet_ntoa, "INET_NTOA(167772161)", nulls=Nulls.MAYBE),
    ScalarFunction("PRINTF", formats.rule, formats.printf, 1, None, Nulls.MAYBE, example="PRINTF('%05d', 42)", python=(formats.PRINTF,)),
    # patterns
    function("REGEXP_COUNT", (_S, _S), _I, patterns.count, "REGEXP_COUNT('banana', 'an')", nulls=Nulls.MAYBE, python=patterns.calls("count")),
    function("REGEXP_EXTRACT_ALL", (_S, _S, _I), array(_S), patterns.extract_all, "REGEXP_EXTRACT_ALL('1-2, 3-4', '(\\d)-(\\d)', 2)",
             least=2, nulls=Nulls.MAYBE, python=patterns.calls("extract_all")),
    function("REGEXP_INSTR", (_S, _S), _I, patterns.first_at, "REGEXP_INSTR('banana', 'n')", nulls=Nulls.MAYBE, python=patterns.calls("first_at")),
    function("REGEXP_SUBSTR", (_S, _S), _S, patterns.substring, "REGEXP_SUBSTR('banana', 'n.')", nulls=Nulls.MAYBE, python=patterns.calls("extract")),
    function("LIKE", (_S, _S, _S), BOOLEAN, patterns.like, "'hello' LIKE 'h%'", least=2, operator=True, python=patterns.calls("like", "like_escape"), total=True),
    function("SIMILAR TO", (_S, _S, _S), BOOLEAN, patterns.similar, "'hello' SIMILAR TO 'h(a|e)%'", least=2, operator=True, python=patterns.calls("similar"), total=True),
    function("REGEXP", (_S, _S), BOOLEAN, patterns.matches, "REGEXP('foobar', 'o+b')", python=patterns.calls("matches"), total=True),
    function("REGEXP_EXTRACT", (_S, _S, _I), _S, patterns.extract, "REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 2)",
             least=2, nulls=Nulls.MAYBE, is_null=patterns.extracts_nothing, python=patterns.calls("extract", "matches"), total=True),
    function("REGEXP_REPLACE", (_S, _S, _S), _S, patterns.replace, "REGEXP_REPLACE('foobar', 'oo|ar', '')", python=patterns.calls("replace")),
)  # fmt: skip
