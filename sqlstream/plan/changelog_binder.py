"""TO_CHANGELOG and FROM_CHANGELOG: the changes of a table as rows, and rows as the changes of a table.

TO_CHANGELOG(input => TABLE t PARTITION BY k, op => DESCRIPTOR(kind), op_mapping => MAP['INSERT, UPDATE_AFTER', 'set', 'DELETE', 'drop'],
             produces_full_deletes => FALSE)
FROM_CHANGELOG(input => TABLE t, op => DESCRIPTOR(kind), op_mapping => MAP['c, r', 'INSERT', 'd', 'DELETE'])
"""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.batches import Kind
from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Column
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.scope import Scope
from sqlstream.plan.unique_keys import unique_keys
from sqlstream.sql.ast import Descriptor, TableArgument, TableFunction, exp, position_of

CHANGELOG_FUNCTIONS = ("TO_CHANGELOG", "FROM_CHANGELOG")
OP = "op"  # the column of the kinds, where none is named
FULL_DELETES = "produces_full_deletes"
_ARGUMENTS = {
    "TO_CHANGELOG": ("input", "op", "op_mapping", FULL_DELETES),
    "FROM_CHANGELOG": ("input", "op", "op_mapping"),
}
_EXAMPLE = {
    "TO_CHANGELOG": "TO_CHANGELOG(input => TABLE t, op => DESCRIPTOR(op), op_mapping => MAP['INSERT', 'c', 'DELETE', 'd'])",
    "FROM_CHANGELOG": "FROM_CHANGELOG(input => TABLE t, op => DESCRIPTOR(op), op_mapping => MAP['c, r', 'INSERT', 'd', 'DELETE'])",
}


def bind_changelog_function(
    name: str,
    node: TableFunction,
    table: Callable[[TableArgument], tuple[nodes.Node, Scope]],
    catalog: Catalog,
) -> nodes.Node:
    """A call of one of them over its table."""
    given = _given(name, node)
    argument = given["input"]
    if not isinstance(argument, TableArgument):
        raise BindError(
            f"{name}: argument 'input' is a table",
            hint="input => TABLE t, or TABLE (SELECT …)",
            position=position_of(argument),
        )
    for clause in ("order",) if name == "TO_CHANGELOG" else ("partition_by", "order"):
        if argument.args.get(clause):
            raise BindError(
                f"{name} takes row by row: its table has no {'PARTITION BY' if clause == 'partition_by' else 'ORDER BY'}",
                hint=_EXAMPLE[name],
                position=position_of(argument),
            )
    plan, scope = table(argument)
    op = _op(name, given.get("op"))
    pairs = _pairs(name, given.get("op_mapping"))
    if name == "TO_CHANGELOG" and op in plan.schema.names:
        raise BindError(
            f"{name}: the table has a column '{op}' of its own",
            hint="op => DESCRIPTOR(kind) gives the kinds another name",
            position=position_of(argument),
        )
    if name == "TO_CHANGELOG":
        first = _partition(argument, scope, catalog)
        if first:
            plan = nodes.keep(plan, [*first, *(i for i in range(len(plan.schema)) if i not in first)])
        blank = () if _full_deletes(given.get(FULL_DELETES)) else _beside_keys(plan, len(first), argument)
        return nodes.ToChangelog(plan, op, _codes(name, pairs, given.get("op_mapping")), len(first), blank)
    at = next((i for i, c in enumerate(plan.schema) if c.name == op), None)
    if at is None:
        raise BindError(
            f"{name}: there is no column '{op}' in the table",
            hint=f"{did_you_mean(op, plan.schema.names, 'columns')}; op => DESCRIPTOR(c) names another",
            position=position_of(argument),
        )
    if not plan.schema[at].type.is_string:
        raise BindError(
            f"{name}: column '{op}' must be STRING, not {plan.schema[at].type.text()}",
            hint="it holds the kind of each change",
            position=position_of(argument),
        )
    if len(plan.schema) == 1:
        raise BindError(f"{name}: the table has no column but '{op}'", position=position_of(argument))
    return nodes.FromChangelog(plan, at, _kinds(name, pairs, given.get("op_mapping")), op)


def _partition(argument: TableArgument, scope: Scope, catalog: Catalog) -> list[int]:
    """The columns of PARTITION BY."""
    found: list[int] = []
    for p in argument.args.get("partition_by") or []:
        key = ExpressionBinder(scope, catalog).bind(p)
        if not isinstance(key, Column):
            raise NotSupported("TO_CHANGELOG: PARTITION BY takes columns", position=position_of(p))
        if key.index in found:
            raise BindError(f"TO_CHANGELOG: PARTITION BY names '{key}' twice", position=position_of(p))
        found.append(key.index)
    return found


def _full_deletes(node: exp.Expression | None) -> bool:
    if node is None:
        return True
    if not isinstance(node, exp.Boolean):
        raise BindError(f"TO_CHANGELOG: {FULL_DELETES} is TRUE or FALSE", position=position_of(node))
    return bool(node.this)


def _beside_keys(plan: nodes.Node, partition: int, argument: TableArgument) -> tuple[int, ...]:
    """The columns that do not tell which row is deleted: those of PARTITION BY do, and those of the least key."""
    keys = sorted(unique_keys(plan), key=lambda k: (len(k), sorted(k)))
    if not partition and not keys:
        raise BindError(
            f"TO_CHANGELOG: {FULL_DELETES} => FALSE, and no columns tell which row is deleted: the table has no key",
            hint="TABLE t PARTITION BY k names some; without the argument deleted rows come whole",
            position=position_of(argument),
        )
    told = set(range(partition)).union(keys[0] if keys else ())
    return tuple(i for i in range(len(plan.schema)) if i not in told)


def _given(name: str, node: TableFunction) -> dict[str, exp.Expression]:
    given: dict[str, exp.Expression] = {}
    arguments = _ARGUMENTS[name]
    for i, a in enumerate(node.expressions):
        named = isinstance(a, exp.Kwarg)
        if not named and i >= len(arguments):
            raise BindError(
                f"{name} takes at most {len(arguments)} arguments", hint=_EXAMPLE[name], position=position_of(a)
            )
        key, value = (a.this.name.lower(), a.expression) if named else (arguments[i], a)
        if key not in arguments:
            raise BindError(
                f"{name} has no argument '{key}'",
                hint=did_you_mean(key, arguments, "arguments"),
                position=position_of(a),
            )
        if key in given:
            raise BindError(f"{name}: argument '{key}' is given twice", position=position_of(a))
        given[key] = value
    if "input" not in given:
        raise BindError(f"{name}: argument 'input' is missing", hint=_EXAMPLE[name], position=position_of(node))
    return given


def _op(name: str, node: exp.Expression | None) -> str:
    if node is None:
        return OP
    if not isinstance(node, Descriptor) or len(node.expressions) != 1:
        raise BindError(f"{name}: op is a DESCRIPTOR of one column", hint=_EXAMPLE[name], position=position_of(node))
    return str(node.expressions[0].name)


def _pairs(name: str, node: exp.Expression | None) -> list[tuple[str, str]] | None:
    """The entries of `op_mapping`; None where it is not given."""
    if node is None:
        return None
    sides = [node.args["keys"].expressions, node.args["values"].expressions] if isinstance(node, exp.Map) else [[], []]
    if not sides[0] or not all(isinstance(e, exp.Literal) and e.is_string for side in sides for e in side):
        raise BindError(
            f"{name}: op_mapping is a MAP of constant texts", hint=_EXAMPLE[name], position=position_of(node)
        )
    return [(key.this, value.this) for key, value in zip(*sides, strict=True)]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _kind(name: str, text: str, node: exp.Expression | None) -> Kind:
    try:
        return Kind[text]
    except KeyError:
        raise BindError(
            f"{name}: op_mapping has no kind of change '{text}'",
            hint=f"there are {', '.join(k.name for k in Kind)}",
            position=position_of(node) if node is not None else None,
        ) from None


def _twice(name: str, what: str, node: exp.Expression | None) -> BindError:
    return BindError(
        f"{name}: op_mapping has '{what}' twice",
        hint="several of one meaning stand in one text: 'c, r'",
        position=position_of(node) if node is not None else None,
    )


def _codes(name: str, pairs: list[tuple[str, str]] | None, node: exp.Expression | None) -> tuple[tuple[Kind, str], ...]:
    if pairs is None:
        return tuple((k, k.name) for k in Kind)
    codes: dict[Kind, str] = {}
    for kinds, code in pairs:
        for text in _split(kinds):
            kind = _kind(name, text, node)
            if kind in codes:
                raise _twice(name, text, node)
            codes[kind] = code
    return tuple(sorted(codes.items()))


def _kinds(name: str, pairs: list[tuple[str, str]] | None, node: exp.Expression | None) -> tuple[tuple[str, Kind], ...]:
    if pairs is None:
        return tuple((k.name, k) for k in Kind)
    kinds: dict[str, Kind] = {}
    meant: set[Kind] = set()
    for codes, text in pairs:
        kind = _kind(name, text, node)
        if kind in meant:
            raise _twice(name, text, node)
        meant.add(kind)
        for code in _split(codes):
            if code in kinds:
                raise _twice(name, code, node)
            kinds[code] = kind
    if Kind.UPDATE_AFTER in meant and Kind.UPDATE_BEFORE not in meant:
        raise BindError(
            f"{name}: op_mapping has UPDATE_AFTER and no UPDATE_BEFORE: what an update takes away would stay",
            hint="map the rows before updates too; records known by a key are a table's: 'format' = 'debezium-json' "
            "with a PRIMARY KEY",
            position=position_of(node) if node is not None else None,
        )
    return tuple(kinds.items())
