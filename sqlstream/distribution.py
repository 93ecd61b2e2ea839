"""What pip knows us by. The import name, the command and the folder are `sqlstream`; the distribution is not.

The name `sqlstream` on the index belongs to another tool, which installs a module and a command of the same name. In
one environment the files of the two lie over each other: whichever came last wins, and removing one breaks the other.
"""

from __future__ import annotations

from pathlib import Path

NAME = "sqlstream-engine"
VERSION = "0.1.0"


def install(extra: str) -> str:
    """The command that adds one of our extras; what a message names when a package of it is missing."""
    return f"pip install '{NAME}[{extra}]'"


def clash(packages: Path | None = None) -> str | None:
    """What to tell users whose environment holds the other tool as well, or None.

    `packages`: the directory that holds our package. Only names of files are looked at: a start has no time for more.
    """
    packages = packages or Path(__file__).parents[1]
    if next(packages.glob("sqlstream-*.dist-info"), None) is None:
        return None
    return (
        f"another tool named 'sqlstream' is installed in this environment ({packages}) and shares files and the command "
        f"with this one ({NAME}): either may break. Put them into environments of their own, or run "
        f"`pip uninstall sqlstream && pip install --force-reinstall {NAME}`"
    )
