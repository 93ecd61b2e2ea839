"""What the session refuses before anything runs."""

from __future__ import annotations

import pytest

from sqlstream.errors import NotSupported
from sqlstream.session import Session


@pytest.mark.parametrize("option", ["pipeline.name", "execution.checkpointing.dir"])
def test_a_durable_job_is_no_batch_query(option: str) -> None:
    session = Session(options={"execution.runtime-mode": "batch", option: "x"})
    with pytest.raises(NotSupported, match="runs as a stream"):
        for _ in session.execute(
            "CREATE TABLE o (a INT) WITH ('connector' = 'blackhole'); INSERT INTO o VALUES (1)"
        ):
            continue
