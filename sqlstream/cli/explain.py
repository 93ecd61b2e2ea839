"""`sqlstream explain FILE.sql`: what the queries of a script would run."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import of_jobs, sources, validate
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Shows the plan of each query, INSERT and statement set of scripts, as EXPLAIN does: first what runs, then the plans that it was made of.
Nothing is run or written: what a script creates is known to what follows in it, and is in no catalog afterwards. To see what each
operator did, run the statement itself with EXPLAIN ANALYZE.
"""

_EPILOG = """\
examples:
  sqlstream explain job.sql
  sqlstream explain -c "SELECT COUNT(*) FROM (VALUES (1), (2)) t(x)" -D execution.runtime-mode=streaming
  sqlstream explain query.sql --with tables.sql --detail SYNTAX_TREE
  sqlstream explain job.sql --output json

exit status:
  0 done; 1 an error in the SQL; 2 wrong usage, such as a script that cannot be read
"""

_DETAILS = ("CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "SYNTAX_TREE", "OPTIMIZER_TRACE")


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "explain", "show the plans of a script", _DESCRIPTION, _EPILOG, explain, job=False
    )
    sources.add_paths(parser)
    validate.add_session(parser)
    parser.add_argument(
        "--detail",
        choices=_DETAILS,
        action="append",
        default=[],
        help="more of it, as EXPLAIN takes it; may be repeated",
    )
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="text, for people (default); or json: an object a statement, with file, line, statement and plan",
    )


def explain(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream explain`."""
    from sqlstream.cli.records import as_json

    read = validate.given(terminal, args)
    if isinstance(read, int):
        return read
    settings, scripts, before = read
    shown = 0
    for script in scripts:
        session = validate.session_of(settings)
        for other in before:
            validate.find_functions(other)
            for _ in session.execute(other.text, other.name, settings.variables):
                continue
        validate.find_functions(script)
        for statement, result in session.explained(script.text, script.name, settings.variables, tuple(args.detail)):
            ((batch, _),) = result.batches()
            plan = batch.column(0)[0].as_py()
            if args.output == "json":
                line = statement.position.line
                told = {"file": script.name, "line": line, "statement": statement.text, "plan": plan}
                terminal.text(as_json([told]))
            else:
                first = " ".join(statement.text.split())
                head = f"-- {script.name or '-c'}:{statement.position.line}: {first[:80]}{'…' if len(first) > 80 else ''}\n"
                terminal.text(("\n" if shown else "") + head + plan + "\n")
            shown += 1
    if not shown:
        terminal.say("there is no query, INSERT or statement set")
    return 0
