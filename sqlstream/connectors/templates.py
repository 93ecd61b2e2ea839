"""Texts with columns in them: `user:{id}`, `https://host/users/{id}?of={name}`. `{{` and `}}` are braces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import OptionError, did_you_mean
from sqlstream.types import Schema

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Template:
    """`parts`: text, and (in tuples of one) names of columns."""

    parts: tuple[str | tuple[str], ...]

    @staticmethod
    def of(text: str, schema: Schema, where: str) -> Template:
        """OptionError for a column that is not there. `where`: the table, and the option."""
        parts: list[str | tuple[str]] = []
        done = 0
        for m in _PART.finditer(text):
            parts.append(text[done : m.start()])
            done = m.end()
            if m[0] in ("{{", "}}"):
                parts.append(m[0][0])
            elif m[1] is None:
                raise OptionError(
                    f"{where}: '{text}': {m[0]} stands alone", hint="{{ and }} are braces, {column} is a value"
                )
            elif m[1].strip() not in schema.names:
                raise OptionError(
                    f"{where}: '{text}': there is no column '{m[1].strip()}'",
                    hint=did_you_mean(m[1].strip(), schema.names, "columns"),
                )
            else:
                parts.append((m[1].strip(),))
        return Template(tuple(p for p in (*parts, text[done:]) if p))

    @property
    def columns(self) -> tuple[str, ...]:
        """That stand in it, each once."""
        return tuple(dict.fromkeys(p[0] for p in self.parts if isinstance(p, tuple)))

    def texts(
        self, columns: Mapping[str, pa.Array], rows: int, written: Callable[[pa.Array], pa.Array] = lambda a: a
    ) -> pa.Array:
        """Of so many rows. `columns`: as text; `written`: how each stands in the text. NULL where a column is."""
        if not self.parts:
            return pa.repeat("", rows)
        parts = [written(columns[p[0]]) if isinstance(p, tuple) else pa.scalar(p) for p in self.parts]
        if all(isinstance(p, str) for p in self.parts):
            return pa.repeat("".join(str(p) for p in self.parts), rows)
        return pc.binary_join_element_wise(*parts, "")
