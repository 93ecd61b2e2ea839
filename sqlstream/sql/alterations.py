"""ALTER TABLE and ALTER VIEW."""

from __future__ import annotations

from sqlstream.sql.lexer import WORD
from sqlstream.sql.statements import (
    Added,
    Alteration,
    AlterTable,
    AlterView,
    ChangedOptions,
    Dropped,
    Name,
    RenamedColumn,
)
from sqlstream.sql.tables import TableBody, TableGrammar


class AlterGrammar(TableGrammar):
    """Both, behind these words."""

    def alter_table(self) -> AlterTable:
        """The statement behind ALTER TABLE."""
        if_exists = self.accept("IF", "EXISTS") is not None
        name = self.name("a table's name")
        verb = self.choose("ADD", "MODIFY", "DROP", "RENAME", "SET", "RESET")
        if verb == "RENAME" and self.accept("TO"):
            return AlterTable(name, rename=self._other(name), if_exists=if_exists)
        return AlterTable(name, self._alteration(verb), if_exists=if_exists)

    def alter_view(self) -> AlterView:
        """The statement behind ALTER VIEW."""
        name = self.name("a view's name")
        if self.accept("RENAME"):
            self.expect("TO")
            return AlterView(name, rename=self._other(name))
        self.expect("AS")
        first = self.token
        query = self.statement_query()
        return AlterView(name, query=query, query_text=self.text_since(first))

    def _other(self, name: Name) -> Name:
        """A new name: in the same database where it does not say which."""
        other = self.name("the new name")
        return other if len(other) > 1 else (*name[:-1], *other)

    def _alteration(self, verb: str) -> Alteration:
        if verb == "RENAME":
            before = str(self.identifier("a column's name").this)
            self.expect("TO")
            return RenamedColumn(before, str(self.identifier("the column's new name").this))
        if verb == "SET":
            return ChangedOptions(given=self.option_list())
        if verb == "RESET":
            return ChangedOptions(
                reset=self.parenthesised(
                    lambda: tuple(self.csv(lambda: self.string("an option's key in single quotes")))
                )
            )
        return self._dropped() if verb == "DROP" else self._added(verb == "MODIFY")

    def _added(self, modify: bool) -> Added:
        body = TableBody(places={})
        if self.at("PARTITION"):
            self.unsupported(
                self.token, "partitions cannot be added", "they are directories: they are there as soon as files are"
            )
        if self.at("COLUMN") and self.ahead(2).kind == WORD:
            self.unsupported(
                self.token, f"{'MODIFY' if modify else 'ADD'} COLUMN is not Flink's", "leave COLUMN out: ADD name TYPE"
            )
        if self.at_sequence("IF", "NOT", "EXISTS"):
            self.unsupported(
                self.token, "ADD IF NOT EXISTS is for partitions, in Flink too", "leave it out: ADD name TYPE"
            )
        if self.at("("):
            self.parenthesised(lambda: self.csv(lambda: self.element(body)))
        else:
            self.element(body)
        places = body.places or {}
        columns = tuple((c, places[c.name]) for c in body.columns)
        return Added(columns, body.watermark, body.primary_key, body.constraint, modify)

    def _dropped(self) -> Dropped:
        if self.accept("PRIMARY", "KEY"):
            return Dropped(primary_key=True)
        if self.accept("CONSTRAINT"):
            return Dropped(constraint=str(self.identifier("a constraint's name").this))
        if self.accept("WATERMARK"):
            return Dropped(watermark=True)
        if self.at("PARTITION"):
            self.unsupported(self.token, "partitions cannot be dropped", "delete their directories")
        return Dropped(columns=self.column_names() if self.at("(") else (str(self.identifier("a column's name").this),))
