"""Jobs whose inputs, outputs and checkpoints are in an S3 store: stopped, rescaled, killed, damaged and refused."""

from __future__ import annotations

import gzip
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import kill
import pytest
from fsspec.registry import _registry as fsspec_registry
from object_store import BUCKET, KEY, SECRET, ObjectStore
from s3fs import S3FileSystem

from sqlstream.errors import CheckpointError, DataError, OptionError, RunError, SqlStreamError
from sqlstream.session import Session

TABLES = """
CREATE TABLE bids (auction INT, price INT)
  WITH ('connector' = 'filesystem', 'path' = 's3://bucket/{place}/in/*.json', 'format' = 'json');
CREATE TABLE totals (auction INT, n BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 's3://bucket/{place}/totals', 'format' = 'debezium-json');
CREATE TABLE dear (auction INT, price INT)
  WITH ('connector' = 'filesystem', 'path' = 's3://bucket/{place}/dear', 'format' = 'json');
"""
INSERTS = """
EXECUTE STATEMENT SET BEGIN
INSERT INTO totals SELECT auction, COUNT(*), SUM(price) FROM bids GROUP BY auction;
INSERT INTO dear SELECT auction, price FROM bids WHERE price > 500;
END;
"""
OPTIONS = """
SET 'pipeline.name' = 'bids';
SET 'execution.checkpointing.dir' = 's3://bucket/{place}/cp';
SET 'execution.checkpointing.interval' = '10 ms';
"""
BIDS = [(i * i % 37, i * 7919 % 1000) for i in range(3000)]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.stop()


@pytest.fixture
def s3(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store, and the environment by which AWS's tools find it."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # they keep to the environment that they were made in
    return store


def prepare(store: ObjectStore, place: str) -> None:
    """Bids in three objects, and some that nobody reads."""
    for n in range(3):
        store.put(f"{place}/in/{n}.json", "".join([f'{{"auction":{a},"price":{p}}}\n' for a, p in BIDS[n::3]]))
    store.put(f"{place}/in/_hidden.json", "no json")
    store.put(f"{place}/in/.hidden.json", "no json")


def check(store: ObjectStore, place: str) -> None:
    """The output is that of all bids, once each; nothing is left in staging."""
    totals = {a: [0, 0] for a, _ in BIDS}
    for a, p in BIDS:
        totals[a][0] += 1
        totals[a][1] += p
    rows = [json.dumps({"auction": a, "n": n, "total": t}) for a, (n, t) in totals.items()]
    assert kill.fold(store.lines(f"{place}/totals")) == Counter(rows)
    assert Counter(store.lines(f"{place}/dear")) == Counter(
        f'{{"auction":{a},"price":{p}}}' for a, p in BIDS if p > 500
    )
    assert not [k for k in store.keys(f"{place}/") if "/_staging/" in k]


def run(session: Session, text: str) -> list[str | None]:
    return [r.message for r in session.execute(text)]


def session(tmp_path: Path, said: list[str] | None = None) -> Session:
    options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "200"}
    return Session(None, options, str(tmp_path), on_message=None if said is None else said.append)


def test_stopped_and_restored_at_another_parallelism(s3: ObjectStore, tmp_path: Path) -> None:
    prepare(s3, "rescaled")
    text = (OPTIONS + TABLES + INSERTS).format(place="rescaled")
    said: list[str] = []
    for parallelism in (2, 1, 3):
        job = session(tmp_path, said)
        epochs: list[int] = []

        def stop(progress: object, job: Session = job, epochs: list[int] = epochs) -> None:
            epochs.append(1)
            if len(epochs) == 2:
                job.cancel()

        job.environment.on_progress = None if parallelism == 3 else stop
        run(job, f"SET 'parallelism.default' = '{parallelism}';" + text)
        assert job.current_job is not None
        assert job.current_job.progress.state == ("FINISHED" if parallelism == 3 else "CANCELED")
    assert len([s for s in said if "resumes from checkpoint" in s]) == 2
    check(s3, "rescaled")
    before = runs(s3, "rescaled/cp/")
    job = session(tmp_path)
    job.environment.fresh = True
    run(job, text)
    assert len(before) == len(runs(s3, "rescaled/cp/")) == 1 and before != runs(s3, "rescaled/cp/")


def runs(store: ObjectStore, prefix: str) -> set[str]:
    return {key.split("/runs/")[1].split("/")[0] for key in store.keys(prefix)}


class Watcher:
    """Lists a place as any reader would: what was seen once stays as it was."""

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store, self._place = store, place
        self.seen: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.look()

    def look(self) -> None:
        now = {}
        for name in ("totals", "dear"):
            now.update({k: self._store.get(k).decode() for k in self._store.published(f"{self._place}/{name}")})
        for key, text in now.items():
            assert text.endswith("\n"), f"{key} was seen before it was whole"
        assert {k: now.get(k) for k in self.seen} == self.seen
        self.seen = now


def script(directory: Path, place: str) -> Path:
    (directory / "job.sql").write_text((OPTIONS + TABLES + INSERTS).format(place=place))
    return directory


def arguments(store: ObjectStore, parallelism: int = 1) -> list[str]:
    given = [f"parallelism.default={parallelism}", "execution.epoch.max-rows=150"]
    return ["run", "job.sql", *store.arguments(), *[a for g in given for a in ("-D", g)]]


def test_killed(store: ObjectStore, tmp_path: Path) -> None:
    """SIGKILL where staged files, uploads, the manifest and publishing are half done; another parallelism each time."""
    prepare(store, "killed")
    place = script(tmp_path, "killed")
    points = ("after-prepare:2", "after-upload:2", "after-manifest:2", "mid-publish:3", "republished:1")
    with Watcher(store, "killed") as watcher:
        for n, point in enumerate(points):
            status, said = kill.run(place, arguments(store, 1 + n % 3), point)
            assert status == -signal.SIGKILL, said
        status, said = kill.run(place, arguments(store, 2))
        assert status == 0, said
    assert len(watcher.seen) > 2
    check(store, "killed")
    check_secrets(store, "killed", tmp_path)


def check_secrets(store: ObjectStore, place: str, directory: Path) -> None:
    """Neither the store nor the job's own directory has a key."""
    texts = [store.get(k) for k in store.keys(f"{place}/")]
    texts += [p.read_bytes() for p in directory.rglob("*") if p.is_file()]
    assert len(texts) > 5
    assert not [t for t in texts if KEY.encode() in t or SECRET.encode() in t]


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_damaged_checkpoint(store: ObjectStore, tmp_path: Path, how: str) -> None:
    name = f"damaged-{how}"
    prepare(store, name)
    place = script(tmp_path, name)
    small = ["-D", "execution.epoch.max-rows=3"]  # there must be rows left, so that each checkpoint has state files
    assert kill.run(place, [*arguments(store, 2), *small], "after-publish:3")[0] == -signal.SIGKILL
    manifests = sorted(
        [k for k in store.keys(f"{name}/cp/") if k.endswith("manifest.json")],
        key=lambda k: int(k.split("/")[-2].removeprefix("chk-")),
    )
    named = []
    for key in manifests[-2:]:
        operators = json.loads(store.get(key))["operators"].values()
        named.append({f["name"] for o in operators for t in o["tasks"] for f in t["files"]})
    last = manifests[-1].split("/")[-2].removeprefix("chk-")
    victim = manifests[-1].removesuffix(f"chk-{last}/manifest.json") + min(named[1] - named[0])
    data = store.get(victim)
    store.delete(victim)
    if how == "flipped":
        store.put(victim, data[:40] + bytes([data[40] ^ 255]) + data[41:])
    status, said = kill.run(place, arguments(store, 3))
    assert status == 0, said
    assert f"warning: checkpoint {last} cannot be used: shared/" in said
    assert ("is missing" if how == "gone" else "is damaged") in said
    check(store, name)


def test_unchanged_state_uploads_the_manifest_only(s3: ObjectStore, tmp_path: Path) -> None:
    """A growing source that sees what other processes write, and checkpoints while nothing comes."""
    prepare(s3, "growing")
    text = (OPTIONS + TABLES + INSERTS).format(place="growing")
    text = text.replace("'format' = 'json'", "'format' = 'json', 'source.monitor-interval' = '20 ms'", 1)
    job = session(tmp_path)
    thread = threading.Thread(target=run, args=(job, text))
    thread.start()

    def until(rows: int) -> None:
        end = time.monotonic() + 20
        while job.current_job is None or job.current_job.progress.rows_in < rows:
            assert thread.is_alive() and time.monotonic() < end, rows
            time.sleep(0.01)

    try:
        until(len(BIDS))
        s3.put("growing/in/later.json", '{"auction":1,"price":600}\n')
        until(len(BIDS) + 1)
        s3.put("growing/in/later.json", '{"auction":1,"price":600}\n{"auction":1,"price":700}\n')
        until(len(BIDS) + 2)
        assert job.current_job is not None
        settled = job.current_job.progress.checkpoint or 0
        while (job.current_job.progress.checkpoint or 0) < settled + 2:
            time.sleep(0.01)
        start = len(s3.requests)
        while (job.current_job.progress.checkpoint or 0) < settled + 5:
            time.sleep(0.01)
        written = [key for method, key in s3.requests[start:] if method in ("PUT", "POST")]
    finally:
        job.cancel()
        thread.join()
    assert len(written) >= 3 and all(key.endswith("/manifest.json") for key in written), written
    assert len(s3.lines("growing/dear")) == sum(p > 500 for _, p in BIDS) + 2


@pytest.mark.parametrize("form", ["json", "csv", "parquet", "debezium-json"])
def test_formats(s3: ObjectStore, tmp_path: Path, form: str) -> None:
    """Written and read again, in both modes, by directory and by glob."""
    table = "CREATE TABLE {} (a INT, b STRING) WITH ('connector' = 'filesystem', 'format' = '{}', 'path' = '{}');"
    path = f"s3://bucket/formats/{form}"
    one = Session(None, {}, str(tmp_path))
    for n in range(2):
        run(one, table.format(f"t{n}", form, f"{path}/{n}"))
        run(one, f"INSERT INTO t{n} VALUES ({n}, 'ä'), ({n}, 'b');")
    for where in (path, f"{path}/*/part-*", f"{path}/**"):
        for mode in ("batch", "streaming"):
            reading = Session(None, {"execution.runtime-mode": mode}, str(tmp_path))
            run(reading, table.format("t", form, where))
            (result,) = reading.execute("SELECT a, b FROM t")
            rows = [tuple(r.values()) for b, _ in result.batches() for r in b.to_pylist()]
            assert sorted(rows) == [(0, "b"), (0, "ä"), (1, "b"), (1, "ä")], (where, mode)


def test_compressed_object(s3: ObjectStore, tmp_path: Path) -> None:
    s3.put("compressed/x.json.gz", gzip.compress(b'{"a":1}\n{"a":2}\n'))
    assert read(tmp_path, "s3://bucket/compressed") == [1, 2]


def read(tmp_path: Path, path: str, **options: str) -> list[int]:
    one = Session(None, {k.replace("_", "-"): v for k, v in options.items()}, str(tmp_path))
    run(one, f"CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{path}')")
    (result,) = one.execute("SELECT a FROM t")
    return [r["a"] for b, _ in result.batches() for r in b.to_pylist()]


def test_no_listing_is_cached(s3: ObjectStore, tmp_path: Path) -> None:
    """Another process adds, rewrites and removes objects between two queries of this one."""
    s3.put("cached/1.json", '{"a":1}\n')
    assert read(tmp_path, "s3://bucket/cached") == [1]
    s3.put("cached/2.json", '{"a":2}\n')
    s3.put("cached/1.json", '{"a":1}\n{"a":1}\n')
    assert read(tmp_path, "s3://bucket/cached/*.json") == [1, 1, 2]
    assert read(tmp_path, "s3://bucket/cached/1.json") == [1, 1]
    s3.delete("cached/1.json")
    assert read(tmp_path, "s3://bucket/cached") == [2]


# ---- what goes wrong


def failing(tmp_path: Path, place: str, checkpoints: str | None = None) -> list[SqlStreamError]:
    """What a user is told: by a read, by a write, and by a job with its checkpoints there. Nothing else is raised."""
    table = "CREATE TABLE {} (a INT) WITH ('connector' = '{}'{});"
    files = f", 'path' = '{place}', 'format' = 'json'"
    numbers = table.format("numbers", "datagen", ", 'number-of-rows' = '5'")
    durable = f"SET 'execution.checkpointing.dir' = '{checkpoints or place}';"
    errors = []
    for text in (
        table.format("t", "filesystem", files) + "SELECT * FROM t;",
        table.format("t", "filesystem", files) + numbers + "INSERT INTO t SELECT a FROM numbers;",
        table.format("t", "blackhole", "") + numbers + durable + "INSERT INTO t SELECT a FROM numbers;",
    ):
        with pytest.raises(SqlStreamError) as e:
            for result in Session(None, {}, str(tmp_path)).execute(text):
                list(result.batches())
        assert "\n" not in e.value.message and place in e.value.message and e.value.hint, str(e.value)
        assert SECRET not in str(e.value) and KEY not in str(e.value)
        errors.append(e.value)
    return errors


def test_no_bucket(s3: ObjectStore, tmp_path: Path) -> None:
    for e in failing(tmp_path, "s3://nobucket/x"):
        assert "bucket does not exist" in e.message and "make the bucket" in str(e.hint), str(e)


def test_refused(s3: ObjectStore, tmp_path: Path) -> None:
    with s3.refusing():
        errors = failing(tmp_path, f"s3://{BUCKET}/refused")
    assert [type(e) for e in errors] == [DataError, RunError, CheckpointError]
    for e in errors:
        assert "'s3.access-key'" in str(e.hint), str(e)


def test_wrong_endpoint(s3: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for endpoint in ("http://127.0.0.1:1", "localhost"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        S3FileSystem.clear_instance_cache()
        for e in failing(tmp_path, f"s3://{BUCKET}/away-{endpoint[-1]}"):
            assert "endpoint" in e.message and "'s3.endpoint'" in str(e.hint), str(e)


def test_no_credentials(s3: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for e in failing(tmp_path, f"s3://{BUCKET}/keyless"):
        assert "credentials" in e.message and "AWS_ACCESS_KEY_ID" in str(e.hint), str(e)


def test_an_object_that_is_not_there(s3: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="path 's3://bucket/none.json' does not exist"):
        read(tmp_path, "s3://bucket/none.json")
    with pytest.raises(DataError, match=r"no file matches 's3://bucket/none/\*.json'"):
        read(tmp_path, "s3://bucket/none/*.json")


def test_without_s3fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(fsspec_registry, "s3", raising=False)
    for e in failing(tmp_path, "s3://bucket/x"):
        assert isinstance(e, OptionError | CheckpointError)
        assert e.hint == "pip install 'sqlstream-engine[s3]'"


# ---- how the store is named


def test_session_options(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They win over the environment, belong to one session, and are not shown."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store.put("options/x.json", '{"a":1}\n')
    pairs = [a.split("=", 1) for a in store.arguments() if a != "-D"]
    options = dict(pairs)
    assert read(tmp_path, "s3://bucket/options", **options) == [1]
    with pytest.raises(RunError, match="endpoint"):
        read(tmp_path, "s3://bucket/options", **{**options, "s3.endpoint": "http://127.0.0.1:1"})
    one = Session(None, options, str(tmp_path))
    shown = [r.message for r in one.execute(f"SET 's3.secret-key' = '{SECRET}'")]
    (listed,) = one.execute("SET")
    shown += [str(b.to_pylist()) for b, _ in listed.batches()]
    assert "s3.secret-key" in shown[0] and store.endpoint in shown[1]
    assert KEY not in str(shown) and SECRET not in str(shown) and SECRET not in repr(one.environment.stores)


def test_partitions(s3: ObjectStore) -> None:
    """Written, completed, replaced and read back; a success file is an object of its own."""
    session = Session()
    table = (
        "CREATE TABLE parts (a INT, k STRING) PARTITIONED BY (k) WITH ('connector' = 'filesystem', "
        "'path' = 's3://bucket/parts', 'format' = 'json', 'sink.partition-commit.policy.kind' = 'success-file')"
    )
    run_all(session, f"SET 'execution.runtime-mode' = 'batch'; {table};")
    run_all(session, "INSERT INTO parts VALUES (1, 'a/b'), (2, '100%'), (3, CAST(NULL AS STRING))")
    assert [k for k in s3.keys("parts/") if k.endswith("_SUCCESS")] == [
        "parts/k=100%25/_SUCCESS",
        "parts/k=__DEFAULT_PARTITION__/_SUCCESS",
        "parts/k=a%2Fb/_SUCCESS",
    ]
    rows = {r for r in session_rows(session, "SELECT a, k FROM parts")}
    assert rows == {(1, "a/b"), (2, "100%"), (3, None)}
    run_all(session, "INSERT OVERWRITE parts VALUES (4, 'a/b'), (5, 'new')")
    rows = {r for r in session_rows(session, "SELECT a, k FROM parts")}
    assert rows == {(4, "a/b"), (2, "100%"), (3, None), (5, "new")}
    assert not [k for k in s3.keys("parts/") if "_staging" in k]


def run_all(session: Session, sql: str) -> None:
    for result in session.execute(sql):
        for _ in result.batches():
            pass


def session_rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    return [
        tuple(row.values())
        for result in session.execute(sql)
        for batch, _ in result.batches()
        for row in batch.to_pylist()
    ]
