"""sqlglot without its compiled parts (`sqlglot[c]`): their classes cannot be extended, and our trees and dialect do.

The compiled modules lie beside the Python ones that they were made of. `ensure` lets this process import the latter; it
is called before anything of ours imports sqlglot. Where sqlglot was imported before us, its compiled parts are in use
and stay so: then the import fails, and says what to do.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_ENDINGS = tuple(importlib.machinery.EXTENSION_SUFFIXES)


class _PythonFirst:
    """Finds sqlglot's modules as Python source where both forms are there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith("sqlglot."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(_ENDINGS):
            return None
        source = Path(spec.origin).with_name(f"{name.rpartition('.')[2]}.py")
        return importlib.util.spec_from_file_location(name, source) if source.exists() else None


def ensure() -> None:
    """Makes sqlglot's classes ones that can be extended. RuntimeError where it is too late for that.

    Not an ImportError: sqlglot takes one from a dialect for "there is no such dialect", and says so.
    """
    core = sys.modules.get("sqlglot.expressions.core")
    if core is None:
        if _PythonFirst not in sys.meta_path:
            sys.meta_path.insert(0, _PythonFirst)
    elif (getattr(core, "__file__", None) or "").endswith(_ENDINGS):
        raise RuntimeError(
            "sqlglot was imported with its compiled parts (sqlglot[c]), whose classes sqlstream cannot extend: import "
            "sqlstream.sql before sqlglot, or remove them with `pip uninstall sqlglotc`"
        )
