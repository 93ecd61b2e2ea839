"""Where the lines of a statement that is laid out anew may break: its clauses, lists and conditions as documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlstream.sql.format_parts import HINT, Nested, Part, Remark, Word
from sqlstream.sql.layout import Comment, Doc, Group, Line, Nest, Text, joined
from sqlstream.sql.lexer import WORD

_JOINS = ("NATURAL", "ASOF", "INNER", "LEFT", "RIGHT", "FULL", "CROSS")
_BETWEEN_JOIN = ("OUTER", "SEMI", "ANTI", *_JOINS)
_SINGLE = (
    "FROM",
    "WHERE",
    "HAVING",
    "QUALIFY",
    "WINDOW",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
)
_LISTS = ("SELECT", "GROUP", "ORDER", "VALUES", "FROM", "WINDOW", "PARTITION")
_STARTS = ("SELECT", "WITH", "VALUES")
_LAID_OUT = (*_STARTS, "(", "INSERT", "CREATE", "EXPLAIN", "EXECUTE", "BEGIN")


def laid_out(parts: Sequence[Part]) -> Doc:
    """A statement."""
    if (body := _set_body(parts)) is not None:
        head, inserts, tail = body
        lines: list[Doc] = [(Line(hard=True), laid_out(i)) for i in inserts]
        return (_phrase(head), Nest(tuple(lines)), Line(hard=True), _phrase(tail))
    keys = [p.key for p in parts if not isinstance(p, Remark)]
    if keys[0] not in _LAID_OUT:
        return Group(_phrase(parts))
    start = _query_start(parts, keys[0])
    if start is None:
        return Group(_phrase(parts))
    if not start:
        return Group(_query(parts))
    return Group((Group(_phrase(parts[:start])), Line(), laid_out(parts[start:])))


def _set_body(
    parts: Sequence[Part],
) -> tuple[Sequence[Part], list[Sequence[Part]], Sequence[Part]] | None:
    """Of a statement set: what stands before its statements, these, each with its `;`, and END."""
    keys = [p.key for p in parts]
    for i in range(len(keys) - 2):
        if keys[i : i + 2] == ["STATEMENT", "SET"] and keys[i + 2] in ("BEGIN", ";") and keys[-1] == "END":
            inserts: list[Sequence[Part]] = []
            begun = i + 3
            for at in range(begun, len(keys) - 1):
                follows = parts[at + 1]
                if keys[at] == ";" or at == len(keys) - 2:
                    end = at + 2 if isinstance(follows, Remark) and not follows.own else at + 1
                    if any(not isinstance(p, Remark) for p in parts[begun:end]):
                        inserts.append(parts[begun:end])
                        begun = end
            if begun < len(parts) - 1:
                inserts[-1:] = [[*inserts[-1], *parts[begun:-1]]] if inserts else [parts[begun:-1]]
            return parts[: i + 3], inserts, parts[-1:]
    return None


def _query_start(parts: Sequence[Part], first: str) -> int | None:
    """Where the query of a statement begins; of EXPLAIN the statement."""
    if first in (*_STARTS, "("):
        return 0
    for i, part in enumerate(parts):
        if i == 0 or isinstance(part, Remark):
            continue
        if first == "CREATE" and _before(parts, i) != "AS":
            continue
        if part.key in _STARTS or _is_query(part) or (first in ("EXPLAIN", "EXECUTE") and part.key == "INSERT"):
            return i
    return None


def _before(parts: Sequence[Part], i: int, back: int = 1) -> str:
    """The key of the part before one, or further back; "" where there is none."""
    keys = [p.key for p in parts[:i] if not isinstance(p, Remark)]
    return keys[-back] if len(keys) >= back else ""


def _is_query(part: Part) -> bool:
    """Whether it is a query in parentheses."""
    if not isinstance(part, Nested) or part.key != "(":
        return False
    first = next((p for p in part.inside if not isinstance(p, Remark)), None)
    return first is not None and (first.key in _STARTS or _is_query(first))


def _query(parts: Sequence[Part]) -> Doc:
    """Its clauses, a line each where they do not fit on one."""
    return joined([_clause(c) for c in _clauses(parts, _begins_clause)], Line())


def _clauses(parts: Sequence[Part], begins: Any) -> list[list[Part]]:
    """Cut before what `begins` one; comments on lines of their own go with what follows them."""
    out: list[list[Part]] = [[]]
    for i, part in enumerate(parts):
        if begins(parts, i) and any(not isinstance(p, Remark) for p in out[-1]):
            out.append([])
            while out[-2] and isinstance(last := out[-2][-1], Remark) and last.own:
                out[-1].insert(0, out[-2].pop())
        out[-1].append(part)
    return out


def _begins_clause(parts: Sequence[Part], i: int) -> bool:
    part, before = parts[i], _before(parts, i)
    if not isinstance(part, Word) or part.token.kind != WORD or before == ".":
        return False
    following = [p.key for p in parts[i + 1 :] if not isinstance(p, Remark)]
    key = part.key
    if key in ("GROUP", "ORDER"):
        return following[:1] == ["BY"]
    if key == "FROM":
        return not (before == "DISTINCT" and _before(parts, i, 2) in ("IS", "NOT"))
    if key in _JOINS or key == "JOIN":
        ahead = [key, *following[:4]]
        words = ahead[: ahead.index("JOIN")] if "JOIN" in ahead else None
        return words is not None and set(words) <= set(_BETWEEN_JOIN) and before not in _BETWEEN_JOIN
    return key in _STARTS or key in _SINGLE


def _begins_part_of_over(parts: Sequence[Part], i: int) -> bool:
    part = parts[i]
    following = _after(parts, i)
    return isinstance(part, Word) and (
        (part.key in ("PARTITION", "ORDER") and following == "BY")
        or (part.key in ("ROWS", "RANGE") and following in ("BETWEEN", "UNBOUNDED", "CURRENT"))
    )


def _after(parts: Sequence[Part], i: int) -> str:
    return next((p.key for p in parts[i + 1 :] if not isinstance(p, Remark)), "")


def _clause(parts: Sequence[Part]) -> Doc:
    comments = []
    while isinstance(parts[0], Remark):
        comments.append(_doc(parts[0]))
        parts = parts[1:]
    size = 1
    parts, late = _without_late(parts)
    key = parts[0].key
    if key in ("GROUP", "ORDER", "PARTITION"):
        size = 2
    elif key == "SELECT":
        while (
            size < len(parts)
            and isinstance(w := parts[size], Word)
            and (w.key in ("DISTINCT", "ALL") or w.token.kind == HINT)
        ):
            size += 1
    elif key == "WITH":
        return (*comments, _doc(parts[0]), Text(" "), joined(_items(parts[1:]), Line()), late)
    elif key not in ("VALUES", "WINDOW", "FROM"):
        return (*comments, Group(_phrase(parts)), late)
    items = _items(parts[size:])
    if len(items) == 1:
        return (*comments, Group(_phrase(parts)), late)
    return (*comments, Group((_phrase(parts[:size]), Nest((Line(), joined(items, Line()))))), late)


def _items(parts: Sequence[Part]) -> list[Doc]:
    """What commas part, each with its comma, and a comment behind that."""
    out: list[Doc] = []
    item: list[Part] = []
    for part in parts:
        beside = isinstance(part, Remark) and not part.own
        ended = bool(item) and (item[-1].key == "," or (len(item) > 1 and item[-2].key == "," and not item[-1].key))
        if ended and not (beside and item[-1].key == ","):
            out.append(_item(item))
            item = []
        item.append(part)
    return [*out, _item(item)] if item else out


def _item(parts: Sequence[Part]) -> Doc:
    parts, late = _without_late(parts)
    return (Group(_phrase(parts)), late)


def _without_late(parts: Sequence[Part]) -> tuple[Sequence[Part], Doc]:
    """Without a comment that ends the last line, for which nothing before it has to be broken; and that."""
    last = parts[-1]
    if isinstance(last, Remark) and not last.own and len(parts) > 1:
        return parts[:-1], _doc(last, True)
    return parts, ()


def _phrase(parts: Sequence[Part]) -> Doc:
    """Parts in a row; AND and OR begin lines where it does not fit on one, and commas end them."""
    out: list[Doc] = []
    between = 0  # BETWEENs that wait for their AND
    for i, part in enumerate(parts):
        first = part.opening if isinstance(part, Nested) else part
        before = parts[i - 1] if i else None
        if (
            before is not None
            and isinstance(first, Word)
            and (first.spaced or _inline(before) and first.key not in (",", "."))
        ):
            breaks = before.key == "," or (first.key == "OR") or (first.key == "AND" and not between)
            out.append(Nest(Line()) if breaks else Text(" "))
        if part.key == "BETWEEN" and _frame(parts, i):
            between += 1
        elif part.key == "AND" and between:
            between -= 1
        if before is not None and all(isinstance(p, Remark) for p in parts[:i]) and not _inline(before):
            out.append(Line(hard=True))  # behind comments that stand before it all
        doc = _doc(part, bool(i))
        out.append(doc if isinstance(part, Nested) else Nest(doc))  # brackets stand under what they belong to
    return tuple(out)


def _inline(part: Part) -> bool:
    """Whether it is a comment that more of the line may follow."""
    return isinstance(part, Remark) and not part.own and not part.text.startswith("--")


def _frame(parts: Sequence[Part], i: int) -> bool:
    return any(p.key == "AND" for p in parts[i:])


def _doc(part: Part, spaced: bool = False) -> Doc:
    if isinstance(part, Remark):
        if part.own or part.text.startswith("--"):
            return Comment(part.text, part.own)
        return (Text(" "), Text(part.text)) if spaced else Text(part.text)
    if isinstance(part, Word):
        return Text(part.text)
    opening, closing = Text(part.opening.text), Text(part.closing.text)
    if not part.inside:
        return (opening, closing)
    if part.key == "<":
        return (opening, _phrase(part.inside), closing)
    if part.key == "CASE":
        branches = _clauses(part.inside, lambda parts, i: parts[i].key in ("WHEN", "ELSE"))
        plain = part.inside[0].key == "WHEN"
        return Group(
            (
                opening,
                Nest((Line() if plain else Text(" "), joined([Group(_phrase(b)) for b in branches], Line()))),
                Line(),
                closing,
            )
        )
    if _is_query(part):
        inside = Group(_query(part.inside)) if part.inside[0].key != "(" else _query(part.inside)
    elif _begins_part_of_over(part.inside, 0):
        inside = joined([Group(_phrase(c)) for c in _clauses(part.inside, _begins_part_of_over)], Line())
    else:
        inside = joined(_items(part.inside), Line())
    return Group((opening, Nest((Line(""), inside)), Line(""), closing))
