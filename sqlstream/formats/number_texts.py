"""FLOAT and DOUBLE as text by Arrow: of a few rows a statement of DuckDB takes longer than all the rest of writing them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.state.arrays import combined

LEAST, MOST = 1e-3, 1e7  # between these Java writes a number without an exponent


def number_texts(column: pa.Array) -> pa.Array | None:
    """Java's texts (see `functions.numbers`), "0.0" for NULL. None where a number has an exponent there, or is none."""
    values = combined(column).fill_null(0.0)
    numbers = values.to_numpy(zero_copy_only=False)
    sizes = np.abs(numbers)
    if not ((sizes >= LEAST) & (sizes < MOST) | (sizes == 0)).all():
        return None
    whole = pa.array(np.where(numbers == np.trunc(numbers), ".0", ""), pa.string())  # Arrow writes 1, Java 1.0
    return pc.binary_join_element_wise(values.cast(pa.string()), whole, "")
