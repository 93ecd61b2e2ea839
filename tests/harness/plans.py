"""Plan files: SQL with the plans that are made of it, to be read in review.

A file begins with comments. A case is a line `=== title`, statements (the last one is planned, those before it run), and
sections `--- name` that `rewritten` makes:

    tests/plans/*.txt          logical; optimised; physical: in two tasks, with exchanges and changelog modes
    tests/plans/rules/*.txt    one rule, by the file's name: before and after it; `(unchanged)` where it does nothing

`python -m pytest tests/test_plans.py --rewrite` writes them anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlstream import pipeline
from sqlstream.errors import SqlStreamError
from sqlstream.operators.target import Target
from sqlstream.optimize import ALL_RULES, OPTIONAL
from sqlstream.optimize.drop_watermarks import drop_watermarks
from sqlstream.plan import nodes
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

PLANS = Path(__file__).parent.parent / "plans"
# In the order in which they run; the first is for plans that wait for no watermark.
RULES_IN_ORDER: tuple[Callable[[nodes.Node], nodes.Node], ...] = (drop_watermarks, *ALL_RULES)
UNCHANGED = "(unchanged)"


@dataclass(frozen=True)
class Case:
    """`sections`: (name, text) as they stand in the file."""

    title: str
    sql: str
    sections: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PlanFile:
    head: str
    cases: tuple[Case, ...]

    @staticmethod
    def read(path: Path) -> PlanFile:
        head, *parts = re.split(r"^=== (.*)\n", path.read_text(), flags=re.M)
        cases = []
        for title, body in zip(parts[::2], parts[1::2], strict=True):
            sql, *sections = re.split(r"^--- (.*)\n", body, flags=re.M)
            named = zip(sections[::2], sections[1::2], strict=True)
            cases.append(Case(title, sql.strip("\n"), tuple((n, text.strip("\n")) for n, text in named)))
        return PlanFile(head.strip("\n"), tuple(cases))

    def text(self) -> str:
        """The file's text."""
        out = [self.head]
        for c in self.cases:
            sections = "".join(f"\n--- {name}\n{text}" for name, text in c.sections)
            out.append(f"=== {c.title}\n{c.sql}{sections}")
        return "\n\n".join(out) + "\n"


def planned(sql: str, tasks: int = 2) -> tuple[Session, list[Target]]:
    """The session after the statements before the last one, and the targets of that."""
    session = Session(options={"execution.runtime-mode": "streaming", "parallelism.default": str(tasks)})
    for _ in session.execute((PLANS / "tables.sql").read_text()):
        pass
    *before, last = parse_script(sql)
    for s in before:
        session.statement(s)
    if isinstance(last, st.Select):
        plan = session.environment.bind(last.query)
        return session, [Target(plan, plan.schema)]
    assert isinstance(last, (st.Insert, st.StatementSet)), last
    return session, pipeline.bind_targets(
        session.environment, last.inserts if isinstance(last, st.StatementSet) else (last,)
    )


def plans(sql: str) -> tuple[tuple[str, str], ...]:
    """The sections of a statement's plans."""
    session, targets = planned(sql)
    try:
        physical = "\n".join(text for _, text in pipeline.job_graph(session.environment, targets).lines())
    except SqlStreamError as e:
        physical = f"refused: {e.message}" + (f"\nhint: {e.hint}" if e.hint else "")
    return (
        ("logical", _trees(targets)),
        ("optimised", _trees(pipeline.optimised(targets))),
        ("physical", physical),
    )


def fingerprints(sql: str) -> tuple[str, str] | None:
    """Of the statement's job in one task and in two; None when it is refused."""
    out = []
    for tasks in (1, 2):
        session, targets = planned(sql, tasks)
        try:
            out.append(pipeline.job_graph(session.environment, targets).fingerprint)
        except SqlStreamError:
            return None
    return out[0], out[1]


def _trees(targets: list[Target]) -> str:
    return "\n".join(nodes.tree(t.plan) for t in targets)


def around(rule: str) -> Callable[[str], tuple[tuple[str, str], ...]]:
    """The sections of a statement for one rule: the plans before and after it, where it first does something."""

    def sections(sql: str) -> tuple[tuple[str, str], ...]:
        _, (target,) = planned(sql)
        plan, unchanged = target.plan, ""
        for r in RULES_IN_ORDER:
            if r in (drop_watermarks, *OPTIONAL) and rule != r.__name__:
                continue
            before, plan = plan, r(plan)
            if r.__name__ != rule:
                continue
            if nodes.tree(before) != nodes.tree(plan):
                return ("before", nodes.tree(before)), ("after", nodes.tree(plan))
            unchanged = unchanged or nodes.tree(before)
        return ("before", unchanged), ("after", UNCHANGED)

    return sections


def rewritten(path: Path) -> str:
    """The text of the file as it should be."""
    file = PlanFile.read(path)
    make = around(path.stem) if path.parent.name == "rules" else plans
    return PlanFile(file.head, tuple(Case(c.title, c.sql, make(c.sql)) for c in file.cases)).text()
