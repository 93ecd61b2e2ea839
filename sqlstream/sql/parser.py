"""Scripts to typed statements: the way into this package.

    parse_script("CREATE TABLE …; INSERT INTO …", "job.sql", {"path": "in.json"}) -> [CreateTable, Insert]

Errors are ParseError or NotSupported, with the place in the whole script (after `${name}` was filled in).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from sqlglot import exp

from sqlstream.errors import Position, SqlStreamError
from sqlstream.options import DEFAULT_DIALECT, DIALECTS
from sqlstream.sql.alterations import AlterGrammar
from sqlstream.sql.depth import check_depth
from sqlstream.sql.foreign.query import foreign_query
from sqlstream.sql.lexer import DOLLAR, END, QUOTED, STRING, WORD, tokenize
from sqlstream.sql.source import Source
from sqlstream.sql.splitter import Piece, split, substitute
from sqlstream.sql.statements import (
    AlterDatabase,
    CreateDatabase,
    CreateFunction,
    CreateSavepoint,
    CreateTable,
    CreateView,
    Describe,
    DescribeDatabase,
    DescribeFunction,
    DescribeJob,
    Drop,
    DropDatabase,
    Explain,
    Insert,
    ResetOption,
    Select,
    SetOption,
    Show,
    Statement,
    StatementSet,
    StopJob,
    Use,
)
from sqlstream.sql.unsupported import CONSTRUCTS, FOREIGN_STATEMENTS, FORMS, OBJECTS, OF_SHELLS, OF_TABLES, UNSUPPORTED
from sqlstream.types import Type

DIALECT_OPTION = "table.sql-dialect"
_SHOWN = ("TABLES", "VIEWS", "FUNCTIONS", "COLUMNS", "PARTITIONS", "JOBS", "CATALOGS", "DATABASES")
# What SHOW lists of something, and what that is.
_SHOWN_OF = {
    "TABLES": "a database's name",
    "VIEWS": "a database's name",
    "FUNCTIONS": "a database's name",
    "DATABASES": "a catalog's name",
}
_DROPPED = ("TABLE", "VIEW", "FUNCTION")
_BODY = "CREATE FUNCTION f(x INT) RETURNS STRING LANGUAGE PYTHON AS $$ return … $$"
# Flink's details of EXPLAIN, and two of our own: the tree of the statement, and what the optimiser did.
_EXPLAINED = (
    "ESTIMATED_COST",
    "CHANGELOG_MODE",
    "PLAN_ADVICE",
    "JSON_EXECUTION_PLAN",
    "SYNTAX_TREE",
    "OPTIMIZER_TRACE",
)
_QUERIES = ("SELECT", "WITH", "VALUES", "TABLE", "(")


_NEAR = 6  # tokens in which the construct that went wrong begins


def parse_script(
    text: str,
    source: str | None = None,
    variables: Mapping[str, str] | None = None,
    dialect: str = DEFAULT_DIALECT,
    session_dialect: str = DEFAULT_DIALECT,
) -> list[Statement]:
    """The statements of a script. `source` is its file name.

    `variables` fill in `${name}`, all of which must be known; None leaves the text alone. `dialect`: of its queries,
    until a SET 'table.sql-dialect' in it says another; RESET goes back to `session_dialect`.
    """
    if variables is not None:
        text = substitute(text, variables, source)
    statements = []
    for parsed in parse_each(Source(text, source), dialect, session_dialect):
        if isinstance(parsed.statement, SqlStreamError):
            raise parsed.statement
        statements.append(parsed.statement)
    return statements


class Parsed(NamedTuple):
    """A piece of a script, and the statement that it is; or what is wrong with it. `dialect`: of its queries."""

    piece: Piece
    statement: Statement | SqlStreamError
    dialect: str


def parse_each(script: Source, dialect: str, session_dialect: str) -> Iterator[Parsed]:
    """The statements of a script, also those behind one that is wrong. ParseError for a quote or comment left open."""
    for piece in split(script):
        try:
            statement = _parse(script, piece, dialect)
        except SqlStreamError as e:
            yield Parsed(piece, e, dialect)
            continue
        yield Parsed(piece, statement, dialect)
        dialect = _dialect_after(statement, dialect, session_dialect)


def _dialect_after(s: Statement, dialect: str, session_dialect: str) -> str:
    """The dialect of what follows. A value that is none is refused when the SET runs."""
    if isinstance(s, SetOption) and s.key == DIALECT_OPTION and s.value is not None:
        named = s.value.strip().lower()
        return named if named in (DEFAULT_DIALECT, *DIALECTS) else dialect
    if isinstance(s, ResetOption) and s.key in (None, DIALECT_OPTION):
        return session_dialect
    return dialect


def parse_statement(
    text: str, source: str | None = None, variables: Mapping[str, str] | None = None, dialect: str = DEFAULT_DIALECT
) -> Statement:
    """The one statement of a text; ParseError for none or several."""
    if variables is not None:
        text = substitute(text, variables, source)
    script = Source(text, source)
    pieces = split(script)
    if not pieces:
        raise script.error("there is no statement", 0)
    if len(pieces) > 1:
        raise script.error("expected one statement, found another", pieces[1].tokens[0].start)
    return _parse(script, pieces[0], dialect)


def place_of(statement: Statement, word: str) -> Position | None:
    """Where in the script the first word or string of a statement stands that is `word`."""
    source = Source(statement.text)
    for token in tokenize(source):
        if token.text == word:
            at, first = source.position(token.start), statement.position
            return Position(first.line + at.line - 1, at.column + (first.column - 1 if at.line == 1 else 0))
    return None


def parse_query(text: str, source: str | None = None) -> exp.Expression:
    """The tree of one query, such as the `query_text` of a view."""
    return _tree(text, source, lambda grammar: grammar.statement_query())


def parse_expression(text: str, source: str | None = None) -> exp.Expression:
    """The tree of one expression, such as the text of a computed column or watermark."""
    return _tree(text, source, lambda grammar: grammar.expression())


def parse_trees(text: str, source: str | None = None) -> list[exp.Expression]:
    """The trees of a script of queries and bare expressions: sqlglot's way in (`sql/dialect.py`)."""
    script = Source(text, source)
    found = []
    for piece in split(script):
        grammar = StatementGrammar(script, piece.tokens)
        found.append(grammar.statement_query() if grammar.at_query() else grammar.expression())
        grammar.end()
    return found


def _tree(text: str, source: str | None, rule: Callable[[StatementGrammar], exp.Expression]) -> exp.Expression:
    script = Source(text, source)
    grammar = StatementGrammar(script, tokenize(script))
    tree = rule(grammar)
    grammar.end()
    check_depth(tree, script)
    return tree


def parse_piece(script: Source, piece: Piece, dialect: str = DEFAULT_DIALECT) -> Statement:
    """The statement of a piece that `split` made of a script: for who runs each before the next one is read."""
    return _parse(script, piece, dialect)


def _parse(script: Source, piece: Piece, dialect: str) -> Statement:
    grammar = StatementGrammar(script, piece.tokens)
    grammar.dialect = dialect
    statement = grammar.statement()
    grammar.end()
    check_depth(statement, script)
    return replace(statement, text=piece.text, position=piece.position)


class StatementGrammar(AlterGrammar):
    """All statements; each rule begins behind its first keyword."""

    dialect = DEFAULT_DIALECT  # of a statement's query

    def form(self) -> str | None:
        before = [t.key for t in self.tokens[max(self.at_index - _NEAR, 0) : self.at_index + 1]]
        first = self.tokens[0].key
        if first == "CREATE":
            parts: Mapping[str, str] = {**CONSTRUCTS, **OF_TABLES}
        else:
            parts = CONSTRUCTS if first in ("SELECT", "INSERT", "EXPLAIN", "EXECUTE", "BEGIN", "WITH", "(") else {}
        near = next((parts[key] for key in reversed(before) if key in parts), None)
        form = near or FORMS.get(first)
        return None if form is None else f"it is written {form}"

    def statement(self) -> Statement:
        """Any statement, from its first word."""
        if self._at_statement_query():
            return Select(self.statement_query())
        token = self.token
        rule = _RULES.get(token.key)
        if rule is not None:
            self._refuse_unsupported()
            self.advance()
            return rule(self)
        self._refuse_unsupported()
        if token.kind != WORD:
            self.fail("expected a statement", OF_SHELLS if token.key in (".", "!") else None)
        known = [*_RULES, *_QUERIES[:-1]]
        hint = FOREIGN_STATEMENTS.get(token.key) or self.near(known) or self.near([words[0] for words in UNSUPPORTED])
        hint = hint or f"statements begin with {', '.join(known)}"
        self.fail_at(token, f"{token.text} begins no statement", hint)

    def _at_statement_query(self) -> bool:
        return self.at(*_QUERIES) or (self.dialect != DEFAULT_DIALECT and self.at("FROM"))

    def statement_query(self) -> exp.Expression:
        """The query that a statement ends with: in its dialect, as a tree of ours."""
        if self.dialect == DEFAULT_DIALECT:
            return super().statement_query()
        first = self.token
        while (
            self.token.kind != END
            and self.token.key != ";"
            and not self.at_emit()
            and not self.at_sequence("ON", "CONFLICT")
        ):
            self.advance()
        return self.emitted(foreign_query(self.source, first.start, self.previous.end, self.dialect, parse_query))

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
        replaces = self.accept("OR", "REPLACE") is not None
        made = self._created()
        if not replaces:
            return made
        if not isinstance(made, CreateTable | CreateView | CreateFunction) or made.if_not_exists:
            self.fail_at(
                self.tokens[1],
                "OR REPLACE is for a TABLE, VIEW or FUNCTION, without IF NOT EXISTS",
                "CREATE OR REPLACE VIEW v AS SELECT …",
            )
        return replace(made, or_replace=True)

    def _created(self) -> Statement:
        temporary = self.accept("TEMPORARY") is not None
        system = temporary and self.accept("SYSTEM") is not None
        if system and not self.at("FUNCTION"):
            self.fail("expected FUNCTION")
        if not temporary and self.accept("SAVEPOINT"):
            return self._create_savepoint()
        if not temporary and self.accept("DATABASE"):
            return self._create_database()
        kind = self.choose("TABLE", "VIEW", "FUNCTION")
        if kind == "TABLE":
            return self.create_table(temporary)
        return self._create_view(temporary) if kind == "VIEW" else self._create_function(temporary, system)

    def _create_database(self) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self.name("a database's name")
        comment = self.string() if self.accept("COMMENT") else None
        options = self.option_list() if self.accept("WITH") else ()
        return CreateDatabase(name, comment, options, if_not_exists)

    def _create_savepoint(self) -> Statement:
        job = self.string("a job's name in single quotes") if self.accept("FOR", "JOB") else None
        path = self.string("a directory in single quotes") if self.token.kind != END else None
        return CreateSavepoint(job, path)

    def _create_view(self, temporary: bool) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self.name("a view's name")
        columns = self.column_names() if self.at("(") else ()
        comment = self.string() if self.accept("COMMENT") else None
        self.expect("AS")
        first = self.token
        query = self.statement_query()
        return CreateView(
            name,
            query,
            self.text_since(first),
            columns=columns,
            comment=comment,
            temporary=temporary,
            if_not_exists=if_not_exists,
        )

    def _create_function(self, temporary: bool, system: bool) -> Statement:
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self._system_name() if system else self.name("a function's name")
        parameters: list[tuple[str, Type]] | None = None
        if self.at("("):
            parameters = self.parenthesised(lambda: [] if self.at(")") else self.csv(self._parameter))
        returns = self.data_type() if self.accept("RETURNS") else None
        language = self._language()
        self.expect("AS")
        path, body = "", None
        if self.token.kind == DOLLAR:
            if parameters is None or returns is None:
                self.fail_at(self.token, "a body needs the types of the arguments and of the result", _BODY)
            body = self.advance().text
        elif parameters is not None or returns is not None:
            self.fail("expected a body in $$", f"{_BODY}; a function of a module says its types there")
        else:
            path = self.string("'module.function'")
        language = language or self._language() or "PYTHON"
        if self.at("USING"):
            self.unsupported(self.token, "USING is not supported", "install the module with pip")
        return CreateFunction(
            name,
            path,
            language,
            temporary=temporary,
            if_not_exists=if_not_exists,
            parameters=tuple(parameters or ()),
            returns=returns,
            body=body,
            system=system,
        )

    def _parameter(self) -> tuple[str, Type]:
        return str(self.identifier("an argument's name").this), self.data_type()

    def _system_name(self) -> tuple[str, ...]:
        first = self.token
        name = self.name("a function's name")
        if len(name) > 1:
            self.fail_at(first, "a SYSTEM function is of no database", "leave the qualifiers out, or SYSTEM")
        return name

    def _language(self) -> str | None:
        if not self.accept("LANGUAGE"):
            return None
        token = self.token
        language = self.choose("PYTHON", "JAVA", "SCALA")
        if language != "PYTHON":
            self.unsupported(token, f"functions in {language} are not supported", "write it in Python")
        return language

    def _alter(self) -> Statement:
        if self.accept("DATABASE"):
            name = self.name("a database's name")
            self.expect("SET")
            return AlterDatabase(name, self.option_list())
        return self.alter_table() if self.choose("TABLE", "VIEW") == "TABLE" else self.alter_view()

    def _drop(self) -> Statement:
        temporary = self.accept("TEMPORARY") is not None
        system = temporary and self.accept("SYSTEM") is not None
        if system and not self.at("FUNCTION"):
            self.fail("expected FUNCTION")
        if not temporary and self.accept("DATABASE"):
            return self._drop_database()
        kind = self.choose(*_DROPPED)
        if_exists = self.accept("IF", "EXISTS") is not None
        name = self._system_name() if system else self.name(f"a {kind.lower()}'s name")
        return Drop(kind, name, if_exists, temporary, system)

    def _drop_database(self) -> Statement:
        if_exists = self.accept("IF", "EXISTS") is not None
        name = self.name("a database's name")
        cascade = self.token.kind != END and self.choose("RESTRICT", "CASCADE") == "CASCADE"
        return DropDatabase(name, if_exists, cascade)

    # ---- jobs

    def _stop(self) -> Statement:
        self.expect("JOB")
        job = self.string("a job's name in single quotes")
        savepoint = self.accept("WITH", "SAVEPOINT") is not None
        drain = self.token
        if not self.accept("WITH", "DRAIN"):
            return StopJob(job, savepoint)
        if not savepoint:
            self.fail_at(drain, "WITH DRAIN could only be used after WITH SAVEPOINT")
        return StopJob(job, savepoint, True)

    # ---- DML

    def _insert(self) -> Insert:
        overwrite = self.choose("INTO", "OVERWRITE") == "OVERWRITE"
        self.accept("TABLE")
        if self.token.kind == STRING:
            self.unsupported(
                self.token,
                "files that are written are declared as a table",
                "CREATE TABLE t (…) WITH ('connector' = 'filesystem', 'path' = …, 'format' = …), then INSERT INTO t",
            )
        table = self.name("a table's name")
        if self.at("/*+"):
            self.unsupported(
                self.token,
                "hints on the target of INSERT are not supported",
                "put the options in its WITH (…)",
            )
        partition = self._partition() if self.accept("PARTITION") else ()
        columns = self.column_names() if self.at("(") and not self.query_follows(self.at_index) else ()
        query = self.statement_query()
        conflict = self._conflict(overwrite) if self.at("ON") else None
        return Insert(table, query, columns=columns, overwrite=overwrite, partition=partition, conflict=conflict)

    def _conflict(self, overwrite: bool) -> str:
        """`ON CONFLICT DO NOTHING | DO ERROR | DO DEDUPLICATE`."""
        first = self.expect("ON")
        self.expect("CONFLICT")
        if overwrite:
            self.fail_at(
                first, "ON CONFLICT is for INSERT INTO", "what is overwritten meets no row that was there: leave it out"
            )
        if self.at("("):
            self.fail("expected DO", "rows meet by the table's PRIMARY KEY: ON CONFLICT names no columns")
        self.expect("DO")
        if self.at("UPDATE"):
            self.fail(
                "expected NOTHING, ERROR or DEDUPLICATE", "DO DEDUPLICATE: the last row takes the place of the others"
            )
        return self.choose("NOTHING", "ERROR", "DEDUPLICATE")

    def _partition(self) -> tuple[tuple[str, exp.Expression], ...]:
        """`(column = value, …)`."""
        found: dict[str, exp.Expression] = {}

        def one() -> None:
            token = self.token
            name = str(self.identifier("a partition column's name").this)
            if name in found:
                self.fail_at(token, f"the partition column {name} is there twice")
            if not self.accept("="):
                self.unsupported(
                    self.token,
                    f"PARTITION ({name}) without a value is not supported",
                    "leave it out: columns that are not named here come from the query",
                )
            found[name] = self.expression()

        self.parenthesised(lambda: self.csv(one))
        return tuple(found.items())

    def _execute(self) -> Statement:
        if self.accept("INSERT"):
            return self._insert()
        if self._at_statement_query():
            return Select(self.statement_query())
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

    def _use(self) -> Statement:
        if self.at("CATALOG") and self.ahead(1).kind in (WORD, QUOTED):
            self.advance()
            return Use((str(self.identifier("a catalog's name").this),), catalog=True)
        return Use(self.name("a database's name"))

    def _show(self) -> Statement:
        if self.accept("CREATE"):
            kind = self.choose("TABLE", "VIEW")
            return Show(f"CREATE {kind}", self.table(f"a {kind.lower()}'s name"))
        if self.accept("CURRENT"):
            return Show(f"CURRENT {self.choose('CATALOG', 'DATABASE')}")
        user = self.accept("USER") is not None
        kind = self.choose("FUNCTIONS") if user else self.choose(*_SHOWN)
        name: tuple[str, ...] = ()
        if kind == "COLUMNS":
            if not self.at("FROM", "IN"):
                self.fail("expected FROM or IN")
            self.advance()
            name = self.table()
        elif kind == "PARTITIONS":
            name = self.table()
            given = self._partition() if self.accept("PARTITION") else ()
            for _, value in given:
                if not isinstance(value, (exp.Literal, exp.Null)):
                    self.fail("a partition's value is a constant", "SHOW PARTITIONS t PARTITION (d = '2026-01-01')")
            values = tuple((c, None if isinstance(v, exp.Null) else str(v.this)) for c, v in given)
            return Show(kind, name, partition=values)
        elif kind in _SHOWN_OF and self.at("FROM", "IN"):
            self.advance()
            name = self.name(_SHOWN_OF[kind])
        negated = self.accept("NOT") is not None
        like, folded = None, False
        if negated or self.at("LIKE", "ILIKE"):
            folded = self.choose("LIKE", "ILIKE") == "ILIKE"
            like = self.string("a pattern in single quotes")
        return Show(kind, name, like, negated, folded, user)

    def _describe(self) -> Statement:
        if self.at("JOB") and self.ahead(1).kind == STRING:
            self.advance()
            return DescribeJob(self.string("a job's name in single quotes"))
        if self.at("DATABASE") and self.ahead(1).kind in (WORD, QUOTED):
            self.advance()
            extended = self.accept("EXTENDED") is not None
            return DescribeDatabase(self.name("a database's name"), extended)
        if self.at("FUNCTION") and self.ahead(1).kind in (WORD, QUOTED):
            self.advance()
            extended = self.accept("EXTENDED") is not None
            return DescribeFunction(self.name("a function's name"), extended)
        self.accept("EXTENDED")
        return Describe(self.table())

    def _explain(self) -> Statement:
        kinds: list[str] = []
        if self.accept("ANALYZE"):
            if self.at("CREATE"):
                self.unsupported(
                    self.token,
                    "EXPLAIN ANALYZE of CREATE TABLE … AS is not supported",
                    "EXPLAIN ANALYZE runs its query alone: EXPLAIN ANALYZE SELECT …",
                )
            return Explain(self._inner(self._explained), analyze=True)
        if not self.accept("PLAN", "FOR") and self.at(*_EXPLAINED):
            kinds = self.csv(lambda: self.choose(*_EXPLAINED))
        return Explain(self._inner(self._explained), tuple(kinds))

    def _explained(self) -> Statement:
        if self._at_statement_query():
            return Select(self.statement_query())
        if self.accept("INSERT"):
            return self._insert()
        if self.accept("EXECUTE"):
            return self._execute()
        if self.accept("STATEMENT", "SET", "BEGIN"):
            return self._statement_set()
        if self.at("CREATE"):
            return self._explained_create()
        self.fail("expected a query, INSERT or STATEMENT SET")

    def _explained_create(self) -> Statement:
        """CREATE TABLE … AS query: its query, which is what would run."""
        token = self.advance()
        made = self._create()
        if not isinstance(made, CreateTable) or made.query is None:
            self.fail_at(token, "of CREATE only CREATE TABLE … AS SELECT … has a plan", "EXPLAIN SELECT …")
        return Select(made.query)


_RULES: dict[str, Callable[[StatementGrammar], Statement]] = {
    "CREATE": StatementGrammar._create,
    "ALTER": StatementGrammar._alter,
    "DROP": StatementGrammar._drop,
    "INSERT": StatementGrammar._insert,
    "EXECUTE": StatementGrammar._execute,
    "BEGIN": StatementGrammar._begin,
    "SET": StatementGrammar._set,
    "RESET": StatementGrammar._reset,
    "STOP": StatementGrammar._stop,
    "USE": StatementGrammar._use,
    "SHOW": StatementGrammar._show,
    "DESCRIBE": StatementGrammar._describe,
    "DESC": StatementGrammar._describe,
    "EXPLAIN": StatementGrammar._explain,
}
