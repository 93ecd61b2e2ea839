"""Every public method says what it promises, itself or where it is declared: what it overrides says it once.

That classes and functions do is ruff's to see (D101, D103); which methods override others it cannot.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cached_property

import sqlstream

METHODS = (staticmethod, classmethod, property, cached_property)


def test_every_public_method_has_a_docstring_or_overrides_one_that_has() -> None:
    undocumented = [
        f"{c.__module__}.{c.__qualname__}.{name}"
        for c in public_classes()
        for name, member in vars(c).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, METHODS))
        if not any(inspect.getdoc(vars(b)[name]) for b in c.__mro__ if name in vars(b))
    ]
    assert undocumented == []


def public_classes() -> Iterator[type]:
    for found in pkgutil.walk_packages(sqlstream.__path__, "sqlstream."):
        if not found.name.endswith("__main__"):
            try:
                module = importlib.import_module(found.name)
            except ModuleNotFoundError as e:  # that of a tool which is not installed
                assert e.name == "harlequin", e
                continue
            for name, c in vars(module).items():
                if inspect.isclass(c) and c.__module__ == module.__name__ and not name.startswith("_"):
                    yield c
