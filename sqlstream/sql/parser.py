"""Scripts to typed statements: the way into this package.

    parse_script("CREATE TABLE …; INSERT INTO …", "job.sql", {"path": "in.json"}) -> [CreateTable, Insert]

Errors are ParseError or NotSupported, with the place in the whole script (after `${name}` was filled in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlglot import exp

from sqlstream.sql.depth import check_depth
from sqlstream.sql.lexer import END, STRING, WORD, tokenize
from sqlstream.sql.source import Source
from sqlstream.sql.splitter import Piece, split, substitute
from sqlstream.sql.statements import (
    CreateFunction,
    CreateView,
    Describe,
    Drop,
    Explain,
    Insert,
    ResetOption,
    Select,
    SetOption,
    Show,
    Statement,
    StatementSet,
)
from sqlstream.sql.tables import TableGrammar
from sqlstream.sql.unsupported import OBJECTS, UNSUPPORTED

_SHOWN = ("TABLES", "VIEWS", "FUNCTIONS", "COLUMNS")
_DROPPED = ("TABLE", "VIEW", "FUNCTION")
_EXPLAINED = ("ESTIMATED_COST", "CHANGELOG_MODE", "PLAN_ADVICE", "JSON_EXECUTION_PLAN")
_QUERIES = ("SELECT", "WITH", "VALUES", "TABLE", "(")


def parse_script(text: str, source: str | None = None, variables: Mapping[str, str] | None = None) -> list[Statement]:
    """The statements of a script. `source` is its file name.

    `variables` fill in `${name}`, all of which must be known; None leaves the text alone.
    """
    if variables is not None:
        text = substitute(text, variables, source)
    script = Source(text, source)
    return [_parse(script, piece) for piece in split(script)]


def parse_statement(text: str, source: str | None = None, variables: Mapping[str, str] | None = None) -> Statement:
    """The one statement of a text; ParseError for none or several."""
    if variables is not None:
        text = substitute(text, variables, source)
    script = Source(text, source)
    pieces = split(script)
    if not pieces:
        raise script.error("there is no statement", 0)
    if len(pieces) > 1:
        raise script.error("expected one statement, found another", pieces[1].tokens[0].start)
    return _parse(script, pieces[0])


def parse_query(text: str, source: str | None = None) -> exp.Expression:
    """The tree of one query, such as the `query_text` of a view."""
    return _tree(text, source, lambda grammar: grammar.query())


def parse_expression(text: str, source: str | None = None) -> exp.Expression:
    """The tree of one expression, such as the text of a computed column or watermark."""
    return _tree(text, source, lambda grammar: grammar.expression())


def parse_trees(text: str, source: str | None = None) -> list[exp.Expression]:
    """The trees of a script of queries and bare expressions: sqlglot's way in (`sql/dialect.py`)."""
    script = Source(text, source)
    found = []
    for piece in split(script):
        grammar = StatementGrammar(script, piece.tokens)
        found.append(grammar.query() if grammar.at_query() else grammar.expression())
        grammar.end()
    return found


def _tree(text: str, source: str | None, rule: Callable[[StatementGrammar], exp.Expression]) -> exp.Expression:
    script = Source(text, source)
    grammar = StatementGrammar(script, tokenize(script))
    tree = rule(grammar)
    grammar.end()
    check_depth(tree, script)
    return tree


def _parse(script: Source, piece: Piece) -> Statement:
    grammar = StatementGrammar(script, piece.tokens)
    statement = grammar.statement()
    grammar.end()
    check_depth(statement, script)
    return replace(statement, text=piece.text, position=piece.position)


class StatementGrammar(TableGrammar):
    """All statements; each rule begins behind its first keyword."""

    def statement(self) -> Statement:
        if self.at(*_QUERIES):
            return Select(self.query())
        token = self.token
        rule = _RULES.get(token.key)
        if rule is not None:
            self._refuse_unsupported()
            self.advance()
            return rule(self)
        self._refuse_unsupported()
        if token.kind != WORD:
            self.fail("expected a statement")
        known = [*_RULES, *_QUERIES[:-1]]
        hint = self.near([*known, *(words[0] for words in UNSUPPORTED)])
        hint = hint or f"statements begin with {', '.join(known)}"
        self.fail_at(token, f"{token.text} begins no statement", hint)

    def at_query(self) -> bool:
        """Whether a query follows, and not an expression in parentheses."""
        return self.at(*_QUERIES[:-1]) or (self.at("(") and self.query_follows(self.at_index))

    def end(self) -> None:
        """Nothing more may follow."""
        if self.token.kind != END:
            self.fail("expected the end of the statement")

    def _refuse_unsupported(self) -> None:
        for words, hint in UNSUPPORTED.items():
            if self.at_sequence(*words):
                following = self.ahead(len(words)).key
                name = " ".join((*words, following) if following in OBJECTS else words)
                self.unsupported(self.token, f"{name} is not supported", hint)

    def _inner(self, rule: Callable[[], Statement]) -> Statement:
        """A statement within another, with its own text and place."""
        first = self.token
        found = rule()
        return replace(found, text=self.text_since(first), position=self.place(first))

    # ---- DDL

    def _create(self) -> Statement:
        temporary = self.accept("TEMPORARY") is not None
        system = temporary and self.accept("SYSTEM") is not None
        if system and not self.at("FUNCTION"):
            self.fail("expected FUNCTION")
        kind = self.choose("TABLE", "VIEW", "FUNCTION")
        if kind == "TABLE":
            return self.create_table(temporary)
        return self._create_view(temporary) if kind == "VIEW" else self._create_function(temporary)

    def _create_view(self, temporary: bool) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self.name("a view's name")
        columns = self.column_names() if self.at("(") else ()
        comment = self.string() if self.accept("COMMENT") else None
        self.expect("AS")
        first = self.token
        query = self.query()
        return CreateView(
            name,
            query,
            self.text_since(first),
            columns=columns,
            comment=comment,
            temporary=temporary,
            if_not_exists=if_not_exists,
        )

    def _create_function(self, temporary: bool) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self.name("a function's name")
        language = self._language()
        self.expect("AS")
        if self.token.kind == "DOLLAR":
            self.unsupported(
                self.token, "a function's body cannot stand here", "put it in a module: AS 'module.function'"
            )
        path = self.string("'module.function'")
        language = language or self._language() or "PYTHON"
        if self.at("USING"):
            self.unsupported(self.token, "USING is not supported", "install the module with pip")
        return CreateFunction(name, path, language, temporary=temporary, if_not_exists=if_not_exists)

    def _language(self) -> str | None:
        if not self.accept("LANGUAGE"):
            return None
        token = self.token
        language = self.choose("PYTHON", "JAVA", "SCALA")
        if language != "PYTHON":
            self.unsupported(token, f"functions in {language} are not supported", "write it in Python")
        return language

    def _drop(self) -> Statement:
        temporary = self.accept("TEMPORARY") is not None
        if temporary and self.accept("SYSTEM") and not self.at("FUNCTION"):
            self.fail("expected FUNCTION")
        kind = self.choose(*_DROPPED)
        if_exists = self.accept("IF", "EXISTS") is not None
        return Drop(kind, self.name(f"a {kind.lower()}'s name"), if_exists=if_exists, temporary=temporary)

    # ---- DML

    def _insert(self) -> Insert:
        overwrite = self.choose("INTO", "OVERWRITE") == "OVERWRITE"
        self.accept("TABLE")
        table = self.name("a table's name")
        if self.at("/*+"):
            self.unsupported(
                self.token,
                "hints on the target of INSERT are not supported",
                "put the options in its WITH (…)",
            )
        if self.at("PARTITION"):
            self.unsupported(
                self.token, "INSERT … PARTITION is not supported", "give the values as columns of the query"
            )
        columns = self.column_names() if self.at("(") and not self.query_follows(self.at_index) else ()
        query = self.query()
        if self.at("ON"):
            self.unsupported(self.token, "ON CONFLICT is not supported", "deduplicate in the query: ROW_NUMBER() … = 1")
        return Insert(table, query, columns=columns, overwrite=overwrite)

    def _execute(self) -> Statement:
        if self.accept("INSERT"):
            return self._insert()
        if self.at(*_QUERIES):
            return Select(self.query())
        self.expect("STATEMENT", "SET", "BEGIN")
        return self._statement_set()

    def _begin(self) -> Statement:
        self.expect("STATEMENT", "SET", ";")
        return self._statement_set()

    def _statement_set(self) -> Statement:
        """`insert; … END`, behind BEGIN."""
        inserts: list[Insert] = []
        while not self.accept("END"):
            first = self.token
            if not self.accept("INSERT"):
                self.fail("expected INSERT or END")
            found = self._insert()
            inserts.append(replace(found, text=self.text_since(first), position=self.place(first)))
            if not self.accept(";") and not self.at("END"):
                self.fail("expected ; or END")
        if not inserts:
            self.fail_at(self.previous, "a statement set needs an INSERT")
        return StatementSet(tuple(inserts))

    # ---- the session

    def _set(self) -> Statement:
        if self.token.kind == END:
            return SetOption()
        first = self.token
        key = self._key("=")
        self.expect("=")
        value = self._rest()
        if not key or value is None:
            self.fail_at(first, "expected SET 'key' = 'value'")
        return SetOption(key, value)

    def _reset(self) -> Statement:
        if self.token.kind == END:
            return ResetOption()
        return ResetOption(self._key(""))

    def _key(self, close: str) -> str:
        """An option's key, quoted, or bare as older scripts have it (`table.exec.mini-batch.enabled`)."""
        first = self.token
        if first.kind == STRING:
            return self.advance().text
        while self.token.kind == WORD or self.at(".", "-"):
            self.advance()
        if self.token is first or (close and not self.at(close)):
            self.fail(f"expected {'a key' if self.token is first else close}", "write SET 'key' = 'value'")
        return self.text_since(first)

    def _rest(self) -> str | None:
        """A value up to the end of the statement: one string, or bare text."""
        first = self.token
        if first.kind == END:
            return None
        if first.kind == STRING:
            return self.advance().text
        while self.token.kind != END:
            if self.token.kind in (STRING, "DOUBLE_QUOTED", "BAD"):
                self.fail("expected a value")
            self.advance()
        return self.text_since(first)

    def _show(self) -> Statement:
        if self.accept("CREATE"):
            kind = self.choose("TABLE", "VIEW")
            return Show(f"CREATE {kind}", self.name(f"a {kind.lower()}'s name"))
        self.accept("USER")
        kind = self.choose(*_SHOWN)
        name: tuple[str, ...] = ()
        if self.at("FROM", "IN"):
            self.advance()
            name = self.name()
        elif kind == "COLUMNS":
            self.fail("expected FROM or IN")
        negated = self.accept("NOT") is not None
        like, folded = None, False
        if negated or self.at("LIKE", "ILIKE"):
            folded = self.choose("LIKE", "ILIKE") == "ILIKE"
            like = self.string("a pattern in single quotes")
        return Show(kind, name, like, negated, folded)

    def _describe(self) -> Statement:
        self.accept("EXTENDED")
        return Describe(self.name("a table's name"))

    def _explain(self) -> Statement:
        kinds: list[str] = []
        if self.accept("ANALYZE"):
            return Explain(self._inner(self._explained), analyze=True)
        if not self.accept("PLAN", "FOR") and self.at(*_EXPLAINED):
            kinds = self.csv(lambda: self.choose(*_EXPLAINED))
        return Explain(self._inner(self._explained), tuple(kinds))

    def _explained(self) -> Statement:
        if self.at(*_QUERIES):
            return Select(self.query())
        if self.accept("INSERT"):
            return self._insert()
        if self.accept("EXECUTE"):
            return self._execute()
        if self.accept("STATEMENT", "SET", "BEGIN"):
            return self._statement_set()
        self.fail("expected a query, INSERT or STATEMENT SET")


_RULES: dict[str, Callable[[StatementGrammar], Statement]] = {
    "CREATE": StatementGrammar._create,
    "DROP": StatementGrammar._drop,
    "INSERT": StatementGrammar._insert,
    "EXECUTE": StatementGrammar._execute,
    "BEGIN": StatementGrammar._begin,
    "SET": StatementGrammar._set,
    "RESET": StatementGrammar._reset,
    "SHOW": StatementGrammar._show,
    "DESCRIBE": StatementGrammar._describe,
    "DESC": StatementGrammar._describe,
    "EXPLAIN": StatementGrammar._explain,
}
