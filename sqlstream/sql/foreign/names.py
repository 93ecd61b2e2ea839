"""Names in other dialects fold their case, Flink's do not: the spelling that the catalog and the query itself have."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp


def tables_of(tree: exp.Expression) -> list[tuple[str, ...]]:
    """The names in FROM, outermost part first."""
    return [tuple(str(p.name) for p in t.parts) for t in tree.find_all(exp.Table)]


def respelled(tree: exp.Expression, known: Iterable[str]) -> exp.Expression:
    """A copy of `tree` whose names are spelled as in `known`, or as where the query itself first gives them.

    A name that is there as it is written stays; so does one that fits two of them.
    """
    spellings: dict[str, set[str]] = {}
    for name in known:
        spellings.setdefault(name.lower(), set()).add(name)
    for alias in [*tree.find_all(exp.Alias), *tree.find_all(exp.TableAlias)]:
        own = alias.args.get("alias") if isinstance(alias, exp.Alias) else alias.this
        for given in [own, *(alias.args.get("columns") or ())]:
            if isinstance(given, exp.Identifier):
                spellings.setdefault(given.name.lower(), {given.name})

    made = tree.copy()
    for node in made.find_all(exp.Identifier):
        found = spellings.get(node.name.lower(), set())
        if node.name not in found and len(found) == 1:
            node.set("this", next(iter(found)))
    return made
