"""Statements as Flink SQL writes them.

CREATE TABLE has what its Table says by `sqlstream_with`, `sqlstream_watermark` and `sqlstream_partitioned_by`, else the
place that the dialect has for such tables. Of constraints only primary keys are declared. Foreign keys and indexes are left
out: they change no answer. So are UNIQUE and CHECK, with a warning, as nobody keeps them; a DEFAULT is an error, as rows
would lack it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc, util
from sqlalchemy.sql import compiler, elements, sqltypes

from sqlstream.catalog.objects import quoted, text
from sqlstream.sql.words import RESERVED


class _Names(compiler.IdentifierPreparer):
    """Backticks. `catalog.database` is a schema of two names."""

    reserved_words = {w.lower() for w in RESERVED}

    def __init__(self, dialect: Any, **kw: Any) -> None:
        super().__init__(dialect, initial_quote="`", final_quote="`", escape_quote="`", **kw)

    def quote_schema(self, schema: str) -> str:
        if isinstance(schema, elements.quoted_name) and schema.quote:
            return str(self.quote(schema))
        return ".".join(self.quote(part) for part in schema.split("."))


class _Queries(compiler.SQLCompiler):
    """SELECT, INSERT and their expressions."""

    def limit_clause(self, select: Any, **kw: Any) -> str:
        limit, offset = select._limit_clause, select._offset_clause
        return ("" if limit is None else f"\n LIMIT {self.process(limit, **kw)}") + (
            "" if offset is None else f"\n OFFSET {self.process(offset, **kw)}"
        )

    def visit_now_func(self, fn: Any, **kw: Any) -> str:
        return "CURRENT_TIMESTAMP"

    def visit_true(self, expr: Any, **kw: Any) -> str:
        return "TRUE"

    def visit_false(self, expr: Any, **kw: Any) -> str:
        return "FALSE"

    def visit_is_distinct_from_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        return f"{self.process(binary.left, **kw)} IS DISTINCT FROM {self.process(binary.right, **kw)}"

    def visit_is_not_distinct_from_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        return f"{self.process(binary.left, **kw)} IS NOT DISTINCT FROM {self.process(binary.right, **kw)}"

    def visit_truediv_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        # of integers Flink's is an integer
        left, right = self.process(binary.left, **kw), self.process(binary.right, **kw)
        kinds = {side.type._type_affinity for side in (binary.left, binary.right)}
        if kinds & {sqltypes.Numeric, sqltypes.Float}:
            return f"{left} / {right}"
        return f"{left} / CAST({right} AS DOUBLE)" if sqltypes.Integer in kinds else f"{left} / ({right} * 1.0)"

    def visit_delete(self, delete_stmt: Any, **kw: Any) -> str:
        # all rows are an empty table in the place of the full one; some cannot be taken from it
        text = str(super().visit_delete(delete_stmt, **kw))
        if delete_stmt._where_criteria:
            return text
        table = self.preparer.format_table(delete_stmt.table)
        columns = (
            ", ".join(
                self.preparer.format_column(c) for c in delete_stmt.table.c if getattr(c, "computed", None) is None
            )
            or "*"
        )
        return f"INSERT OVERWRITE {table} SELECT {columns} FROM {table} WHERE FALSE"

    def visit_empty_set_expr(self, element_types: Any, **kw: Any) -> str:
        columns = ", ".join(
            f"CAST(NULL AS {self.dialect.type_compiler_instance.process(t)})" for t in self._typed(element_types)
        )
        return f"SELECT {columns} WHERE 1 <> 1"

    def _typed(self, types: Any) -> list[Any]:
        known = [sqltypes.INTEGER() if isinstance(t, sqltypes.NullType) else t for t in types]
        return known or [sqltypes.INTEGER()]


class _Definitions(compiler.DDLCompiler):
    """CREATE and DROP."""

    def get_column_specification(self, column: Any, **kw: Any) -> str:
        name = self.preparer.format_column(column)
        if column.computed is not None:
            sql = self.sql_compiler.process(column.computed.sqltext, include_table=False, literal_binds=True)
            spec = f"{name} AS {sql}"
        else:
            if column.server_default is not None:
                raise exc.CompileError(f"column {column.name}: tables have no DEFAULT, nor identity columns")
            type_ = self.dialect.type_compiler_instance.process(column.type, type_expression=column)
            spec = f"{name} {type_}" + ("" if column.nullable else " NOT NULL")
        return spec + (f" COMMENT {text(column.comment)}" if column.comment else "")

    def create_table_constraints(self, table: Any, **kw: Any) -> str:
        watermark = table.dialect_options["sqlstream"]["watermark"]
        parts = [f"WATERMARK FOR {watermark}"] if watermark else []
        if constraints := super().create_table_constraints(table, **kw):
            parts.append(constraints)
        return ", \n\t".join(parts)

    def visit_primary_key_constraint(self, constraint: Any, **kw: Any) -> str | None:
        key = super().visit_primary_key_constraint(constraint, **kw)
        return f"{key} NOT ENFORCED" if key else None

    def visit_foreign_key_constraint(self, constraint: Any, **kw: Any) -> None:
        """Nothing."""

    def visit_unique_constraint(self, constraint: Any, **kw: Any) -> None:
        util.warn(f"table {constraint.table.name}: UNIQUE is left out, as sqlstream does not keep it")

    def visit_check_constraint(self, constraint: Any, **kw: Any) -> None:
        util.warn(f"table {constraint.table.name}: CHECK is left out, as sqlstream does not keep it")

    visit_column_check_constraint = visit_table_or_column_check_constraint = visit_check_constraint

    def post_create_table(self, table: Any) -> str:
        comment = f"\nCOMMENT {text(table.comment)}" if table.comment else ""
        own = table.dialect_options["sqlstream"]
        by = f"\nPARTITIONED BY ({', '.join(map(quoted, own['partitioned_by']))})" if own["partitioned_by"] else ""
        return comment + by + self._with(table.name, own["with"])

    def create_table_select_suffixes(self, element: Any, type_: str, **kw: Any) -> str:
        return "" if type_ == "view" else self._with(element.table.name, None)

    def _with(self, name: str, given: Any) -> str:
        options = given or self.dialect.places.options(name)
        return "\nWITH (" + ", ".join(f"{text(k)} = {text(str(v))}" for k, v in options.items()) + ")"

    def visit_create_index(self, create: Any, **kw: Any) -> str:
        return ""

    def visit_drop_index(self, drop: Any, **kw: Any) -> str:
        return ""
