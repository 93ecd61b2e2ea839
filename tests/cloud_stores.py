"""Jobs over an object store that a URL names, of any kind that fsspec knows: `python tests/cloud_stores.py URL`. Not a part of the suite.

An unbounded job reads objects as they come, JSON and Avro, writes both, and has its checkpoints in the same store; it is killed, and goes on. Each
row must be published once. The bucket (container) has to be there, and the environment has to say who asks. With emulators:

    gcp-storage-emulator start --port 9023 --in-memory --default-bucket test
    STORAGE_EMULATOR_HOST=http://localhost:9023 python tests/cloud_stores.py gs://test/place

    npx azurite-blob --inMemoryPersistence --skipApiVersionCheck --blobPort 10000
    AZURE_STORAGE_CONNECTION_STRING='…' python tests/cloud_stores.py abfs://test/place
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlstream.stores import Stores

SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "int"}, {"name": "price", "type": "int"}]}
JOB = """
SET 'pipeline.name' = 'cloud';
SET 'execution.runtime-mode' = 'streaming';
SET 'execution.checkpointing.dir' = '{url}/cp';
SET 'execution.checkpointing.interval' = '200 ms';
CREATE TABLE bids (a INT, price INT) WITH ('connector' = 'filesystem', 'path' = '{url}/in/*.{form}', 'format' = '{form}', 'source.monitor-interval' = '200 ms');
CREATE TABLE o (a INT, price INT) WITH ('connector' = 'filesystem', 'path' = '{url}/out', 'format' = '{form}');
INSERT INTO o SELECT a, price FROM bids WHERE price > 10;
"""


class Place:
    """What is below a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fs, self.root = Stores().filesystem(url)

    def put(self, name: str, rows: list[dict[str, int]], form: str) -> None:
        data = io.BytesIO()
        if form == "avro":
            fastavro.writer(data, SCHEMA, rows, codec="deflate", sync_interval=100)
        else:
            data.write("".join(json.dumps(r) + "\n" for r in rows).encode())
        self.fs.pipe_file(f"{self.root}/in/{name}.{form}", data.getvalue())

    def out(self, form: str) -> Counter[tuple[int, int]]:
        self.fs.invalidate_cache()
        if not self.fs.exists(f"{self.root}/out"):
            return Counter()
        names = [n for n in self.fs.find(f"{self.root}/out") if "/_" not in n[len(self.root) :]]
        rows: list[dict[str, Any]] = []
        for data in (self.fs.cat_file(n) for n in names):
            rows += fastavro.reader(io.BytesIO(data)) if form == "avro" else map(json.loads, data.splitlines())
        return Counter((r["a"], r["price"]) for r in rows)


def until(place: Place, form: str, rows: int, process: subprocess.Popen[str]) -> None:
    """So many rows are published."""
    end = time.monotonic() + 60
    while place.out(form).total() < rows:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            sys.exit(f"{form}: {rows} rows do not come:\n{process.communicate()[1]}")
        time.sleep(0.2)


def tried(url: str, form: str) -> None:
    place = Place(url)
    if place.fs.exists(place.root):
        place.fs.rm(place.root, recursive=True)
    rows = [{"a": i, "price": i % 40} for i in range(900)]
    wanted = Counter((r["a"], r["price"]) for r in rows if r["price"] > 10)

    def wanted_of(n: int) -> int:
        return sum(r["price"] > 10 for r in rows[:n])

    place.put("0", rows[:300], form)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "job.sql").write_text(JOB.format(url=url, form=form))
        command = [sys.executable, "-m", "sqlstream", "run", "job.sql"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        for n in (1, 2, 3):
            process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            until(place, form, wanted_of(300 * n), process)
            if n < 3:
                place.put(str(n), rows[300 * n : 300 * (n + 1)], form)
                until(place, form, wanted_of(300 * (n + 1)), process)
            process.kill() if n == 1 else process.terminate()
            process.wait()
    assert place.out(form) == wanted, (place.out(form) - wanted, wanted - place.out(form))
    print(f"{form}: {wanted.total()} rows once each, of 3 objects, by 3 runs")


if __name__ == "__main__":
    for form in ("json", "avro"):
        tried(f"{sys.argv[1].rstrip('/')}/{form}", form)
