"""CREATE TABLE: columns, watermark, keys, options, LIKE and AS."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlstream.sql.lexer import END, STRING, Token
from sqlstream.sql.queries import QueryGrammar
from sqlstream.sql.statements import ColumnDef, CreateTable, LikeDef, Options, WatermarkDef

_LIKE_FEATURES = {
    "ALL": ("INCLUDING", "EXCLUDING"),
    "CONSTRAINTS": ("INCLUDING", "EXCLUDING"),
    "DISTRIBUTION": ("INCLUDING", "EXCLUDING"),
    "PARTITIONS": ("INCLUDING", "EXCLUDING"),
    "GENERATED": ("INCLUDING", "EXCLUDING", "OVERWRITING"),
    "OPTIONS": ("INCLUDING", "EXCLUDING", "OVERWRITING"),
    "WATERMARKS": ("INCLUDING", "EXCLUDING", "OVERWRITING"),
    "METADATA": ("INCLUDING", "EXCLUDING", "OVERWRITING"),
}


@dataclass
class TableBody:
    """What the parentheses of CREATE TABLE, or of an ALTER TABLE, hold, while they are read."""

    columns: list[ColumnDef] = field(default_factory=list)
    watermark: WatermarkDef | None = None
    primary_key: tuple[str, ...] = ()
    constraint: str | None = None
    places: dict[str, str | None] | None = None  # of columns, where ALTER TABLE may say them: see `Added`
    bare: tuple[Token, int] | None = None  # of the first column that is a name alone: it, and where the next token is


class TableGrammar(QueryGrammar):
    """CREATE TABLE, behind these words."""

    def create_table(self, temporary: bool) -> CreateTable:
        """The statement behind CREATE [TEMPORARY] TABLE."""
        if_not_exists = self.accept("IF", "NOT", "EXISTS") is not None
        name = self.name("a table's name")
        body = TableBody()
        if self.accept("("):
            self.csv(lambda: self.element(body))
            self.expect(")")
        comment = self.string() if self.accept("COMMENT") else None
        if self.at("DISTRIBUTED"):
            self.unsupported(
                self.token,
                "DISTRIBUTED is not supported",
                "leave it out: rows are distributed by the keys of each query",
            )
        partitioned: tuple[str, ...] = ()
        if self.accept("PARTITIONED", "BY"):
            partitioned = self.column_names("partition column")
        options = self.options() if self.at("WITH") else ()
        like = self._like() if self.accept("LIKE") else None
        query = None
        if like is None and self.accept("AS"):
            query = self.statement_query()
        if body.bare is not None:
            self._names_alone(body, *body.bare, query is not None)
        return CreateTable(
            name=name,
            columns=tuple(body.columns),
            watermark=body.watermark,
            primary_key=body.primary_key,
            constraint=body.constraint,
            comment=comment,
            partitioned_by=partitioned,
            options=options,
            like=like,
            query=query,
            temporary=temporary,
            if_not_exists=if_not_exists,
        )

    def _names_alone(self, body: TableBody, bare: Token, behind: int, of_query: bool) -> None:
        """Columns as names alone stand before AS SELECT, and all of them do then."""
        if not of_query:
            self.at_index, self.token = behind, self.tokens[behind]
            self.fail("expected a type")
        if (
            any(c.type is not None or c.computed is not None for c in body.columns)
            or body.watermark
            or body.primary_key
        ):
            self.fail_at(
                bare,
                "CREATE TABLE … AS SELECT: names alone, and columns with their types, do not stand together",
                "give the type too; or names alone, of all columns of the query, in the order that the table is to have",
            )

    def options(self) -> Options:
        """`WITH ('key' = 'value', …)`."""
        self.expect("WITH")
        return self.option_list()

    def option_list(self) -> Options:
        """`('key' = 'value', …)`."""
        self.expect("(")
        found: dict[str, str] = {}
        if not self.at(")"):
            self.csv(lambda: self._option(found))
        self.expect(")")
        return tuple(found.items())

    def _option(self, found: dict[str, str]) -> None:
        token = self.token
        if token.kind != STRING:
            self.fail("expected an option's key in single quotes")
        key = self.string()
        if key in found:
            self.fail_at(token, f"the option '{key}' is there twice", "each option has one value: take one of them out")
        self.expect("=")
        if self.token.kind != STRING:
            self.fail(
                f"expected the value of '{key}' in single quotes",
                "option values are strings, numbers too: '100'",
            )
        found[key] = self.string()

    def column_names(self, what: str = "column") -> tuple[str, ...]:
        """`(a, b)`, each once."""
        names: list[str] = []

        def one() -> None:
            token = self.token
            name = str(self.identifier(f"a {what}'s name").this)
            if name in names:
                self.fail_at(token, f"the {what} {name} is there twice", "take one of them out")
            names.append(name)

        self.parenthesised(lambda: self.csv(one))
        return tuple(names)

    # ---- elements

    def element(self, body: TableBody) -> None:
        """A column, a watermark or a key."""
        token = self.token
        if self.at_sequence("WATERMARK", "FOR"):
            self._watermark(body)
        elif self.at("CONSTRAINT") and self.at_key(2):
            self.advance()
            body.constraint = str(self.identifier("a constraint's name").this)
            self._table_key(body, token)
        elif self.at_key(0):
            self._table_key(body, token)
        elif self.at("UNIQUE", "FOREIGN", "CHECK") and self.ahead(1).key in ("(", "KEY"):
            self.unsupported(token, f"{token.key} constraints are not supported", "Flink has PRIMARY KEY only")
        else:
            self._column(body)

    def at_key(self, n: int) -> bool:
        """Whether PRIMARY KEY stands n tokens on."""
        return self.ahead(n).key == "PRIMARY" and self.ahead(n + 1).key == "KEY"

    def _watermark(self, body: TableBody) -> None:
        token = self.expect("WATERMARK", "FOR")
        if body.watermark is not None:
            self.fail_at(token, "a table has one WATERMARK at most")
        name = self.token
        column = str(self.identifier("a column's name").this)
        if self.at("."):
            hint = f"add a computed column for the field and put the watermark on it: ts AS {column}.…"
            self.fail_at(name, "the watermark's column must be one of the table's own", hint)
        self.expect("AS")
        first = self.token
        expression = self.expression()
        body.watermark = WatermarkDef(column, expression, self.text_since(first), self.place(name))

    def _table_key(self, body: TableBody, token: Token) -> None:
        self.expect("PRIMARY", "KEY")
        names = self.column_names("key column")
        self._not_enforced(token)
        self._set_key(body, names, token)

    def _set_key(self, body: TableBody, names: tuple[str, ...], token: Token) -> None:
        if body.primary_key:
            self.fail_at(token, "a table has one PRIMARY KEY at most")
        body.primary_key = names

    def _not_enforced(self, token: Token) -> None:
        if not self.accept("NOT", "ENFORCED"):
            self.accept("ENFORCED")
            self.fail_at(
                token,
                "a PRIMARY KEY must be NOT ENFORCED",
                "write PRIMARY KEY … NOT ENFORCED: nothing can enforce a key on data that others own",
            )

    def _column(self, body: TableBody) -> None:
        token = self.token
        name = str(self.identifier("a column's name").this)
        if any(c.name == name for c in body.columns):
            self.fail_at(token, f"the column {name} is there twice", "give one of them another name")
        place = self.place(token)
        if self.accept("AS"):
            first = self.token
            computed = self.expression()
            text = self.text_since(first)
            comment = self.string() if self.accept("COMMENT") else None
            self._ends(body, name)
            body.columns.append(ColumnDef(name, computed=computed, computed_text=text, comment=comment, position=place))
            return
        if self.at(",", ")"):
            if body.places is not None:
                self.fail("expected a type")
            body.bare = body.bare or (token, self.at_index)
            body.columns.append(ColumnDef(name, position=place))
            return
        type_ = self.data_type()
        metadata, virtual = None, False
        if self.accept("METADATA"):
            metadata = self.string("the metadata's key in single quotes") if self.accept("FROM") else name
            virtual = self.accept("VIRTUAL") is not None
        key = self.token
        if self.accept("CONSTRAINT"):
            body.constraint = str(self.identifier("a constraint's name").this)
            if not self.at_key(0):
                self.fail("expected PRIMARY KEY")
        if self.accept("PRIMARY", "KEY"):
            self._not_enforced(key)
            self._set_key(body, (name,), key)
            if self.accept("NOT", "NULL"):
                type_ = type_.null(False)
        comment = self.string() if self.accept("COMMENT") else None
        if self.at("DEFAULT"):
            self.unsupported(self.token, "DEFAULT is not supported", "write the value in the INSERT's query")
        self._ends(body, name)
        body.columns.append(ColumnDef(name, type_, metadata=metadata, virtual=virtual, comment=comment, position=place))

    def _ends(self, body: TableBody, name: str) -> None:
        """What may stand behind a column: its place, in ALTER TABLE."""
        if body.places is None:
            if not self.at(",", ")"):
                self.fail("expected , or )")
            return
        body.places[name] = None
        if self.accept("FIRST"):
            body.places[name] = ""
        elif self.accept("AFTER"):
            body.places[name] = str(self.identifier("a column's name").this)
        if not self.at(",", ")") and self.token.kind != END:
            self.fail("expected FIRST, AFTER or the end")

    # ---- LIKE

    def _like(self) -> LikeDef:
        source = self.table()
        options: list[tuple[str, str]] = []
        if self.accept("("):
            while not self.at(")"):
                token = self.token
                verb = self.choose("INCLUDING", "EXCLUDING", "OVERWRITING")
                feature = self.choose(*_LIKE_FEATURES)
                if verb not in _LIKE_FEATURES[feature]:
                    self.fail_at(token, f"{verb} {feature} does not exist", "OVERWRITING is for what can be merged")
                if feature in (f for _, f in options):
                    self.fail_at(token, f"{feature} is there twice")
                options.append((verb, feature))
            self.expect(")")
        return LikeDef(source, tuple(options))
