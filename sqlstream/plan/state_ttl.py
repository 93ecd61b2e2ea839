"""Hint STATE_TTL of one SELECT: how long the state lives that is kept of an input, by the name that it has in FROM.

    SELECT /*+ STATE_TTL('o' = '1 d', 'c' = '20 d') */ … FROM orders o JOIN customers c ON …

Who keeps state of an input asks for it: a join of two inputs that have names, GROUP BY, DISTINCT and OVER of one. As in
Flink, of a name that is repeated in one hint the last holds, in several hints the first; and a join's result has no
name, so of A JOIN B JOIN C the second join knows C alone. What nobody asked for is refused when the SELECT is done:
unlike Flink, which forgets a hint that hits nothing.
"""

from __future__ import annotations

from sqlstream.errors import BindError, NotSupported, OptionError, did_you_mean
from sqlstream.options import Option
from sqlstream.plan.scope import Relation, Scope
from sqlstream.sql.ast import exp, hints, position_of

NAME = "STATE_TTL"


class StateTtl:
    """`select`: where the hints stand."""

    def __init__(self, select: exp.Expression) -> None:
        self._position = position_of(select)
        self._given: dict[str, int] = {}
        self._used: set[str] = set()
        for hint in hints(select):
            if hint.name != NAME:
                if (meant := did_you_mean(hint.name, [NAME])).startswith("did you mean"):
                    raise BindError(
                        f"there is no hint {hint.name}", hint=meant, position=self._position, subject=hint.name
                    )
                continue
            if hint.arguments or not hint.options:
                raise BindError(
                    f"hint {NAME} takes names of inputs with their times",
                    hint=f"/*+ {NAME}('orders' = '1 d', 'customers' = '20 d') */",
                    position=self._position,
                )
            for name, text in dict(hint.options).items():
                self._given.setdefault(name, self._micros(name, text))

    def _micros(self, name: str, text: str) -> int:
        try:
            micros: int = Option(name, "duration").convert(text, where=f"hint {NAME}: option")
        except OptionError as e:
            e.position, e.subject = self._position, text
            e.hint = e.hint or f"/*+ {NAME}('{name}' = '1 d') */"
            raise
        return micros

    def of(self, scope: Scope) -> int | None:
        """How long state lives of an input whose names are `scope`, µs; None: not said here."""
        found = self._named(scope.relations[0]) if len(scope.relations) == 1 else []
        self._used.update(found)
        return self._given[found[0]] if found else None

    def _named(self, relation: Relation) -> list[str]:
        """Those of the given names that mean it, as they were given."""
        names = {".".join(n) for n in relation.names()}
        return [given for given in self._given if given in names]

    def check(self, scope: Scope) -> None:
        """When all of the SELECT is bound, whose FROM has these names: all hints were for something."""
        known = [r.alias for r in scope.relations if r.alias is not None]
        meant = {name for r in scope.relations for name in self._named(r)}
        for name in self._given:
            if name not in meant:
                raise BindError(
                    f"hint {NAME}: there is no table '{name}' in this FROM",
                    hint=did_you_mean(name, known, "tables"),
                    position=self._position,
                )
            if name not in self._used:
                raise NotSupported(
                    f"hint {NAME}: nothing here keeps state of '{name}' by itself",
                    hint="it is for inputs of a regular join, and for the one input of GROUP BY, DISTINCT or a top-n, in "
                    "the SELECT where these stand; SET 'table.exec.state.ttl' is for all operators",
                    position=self._position,
                )
