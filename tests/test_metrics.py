"""The endpoint for Prometheus, read over HTTP from jobs that run: names as Flink's, values as the input says."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest
from failing_store import Failing, SkippingClock
from prometheus_client.parser import text_string_to_metric_families

from sqlstream import faults
from sqlstream.checkpoint.statistics import read
from sqlstream.errors import OptionError
from sqlstream.metrics.registry import JOB_METRICS, OPERATOR_METRICS
from sqlstream.options import SESSION_OPTIONS, STORE_METRICS, find, has_one_value, without_effect
from sqlstream.runtime import loop
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

ROWS = 2_000
LATE, BAD = 5, 3
KEYS = 37
JOB, TASK, OPERATOR = "flink_jobmanager_job_", "flink_taskmanager_job_task_", "flink_taskmanager_job_task_operator_"

Labels = dict[str, str]
Samples = dict[str, list[tuple[Labels, float]]]

# Flink's documentation, "Metrics": the tables Availability, Checkpointing, State Changelog and IO; fullRestarts stood there
# until it was removed for numRestarts.
OF_JOBS = {
    "uptime", "downtime", "runningTime", "restartingTime", "numRestarts", "fullRestarts",
    "lastCheckpointDuration", "lastCheckpointSize", "lastCompletedCheckpointId", "lastCheckpointCompletedTimestamp",
    "lastCheckpointFullSize", "lastCheckpointRestoreTimestamp", "numberOfInProgressCheckpoints",
    "numberOfCompletedCheckpoints", "numberOfFailedCheckpoints", "totalNumberOfCheckpoints",
}  # fmt: skip
OF_TASKS = {
    "numRecordsIn", "numRecordsInPerSecond", "numRecordsOut", "numRecordsOutPerSecond", "numLateRecordsDropped",
    "currentInputWatermark", "busyTimeMsPerSecond",
}  # fmt: skip
# From watermarkLag on they are of FLIP-33 (SourceReaderMetricGroup, SinkWriterMetricGroup). Flink has the time that it is busy of
# tasks alone: an operator is one of its own here.
OF_OPERATORS = OF_TASKS | {
    "currentOutputWatermark", "completedMaterialization", "lastDurationOfMaterialization",
    "lastFullSizeOfMaterialization", "lastFullSizeOfNonMaterialization",
    "watermarkLag", "numRecordsInErrors", "numBytesIn", "pendingRecords", "pendingBytes", "currentFetchEventTimeLag",
    "currentEmitEventTimeLag", "sourceIdleTime", "numRecordsSend", "numBytesSend", "numRecordsSendErrors", "currentSendTime",
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Failing.reset()
    yield
    Failing.reset()


def scraped(url: str, timeout: float = 20) -> Samples:
    """By name; Prometheus's own parser reads it."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def one(found: Samples, name: str, **labels: str) -> float:
    """The value of a metric; of all samples that have the labels there is one."""
    values = [v for of, v in found[name] if labels.items() <= of.items()]
    assert len(values) == 1, (name, labels, found[name])
    return values[0]


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(v for of, v in found[name] if labels.items() <= of.items())


class Project:
    """A job in this process: rows of 37 keys, one a second of event time, some too late and some malformed."""

    script = """
    CREATE TABLE t (k INT, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
    WITH ('connector' = 'filesystem', 'path' = '{place}/in', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
    CREATE TABLE o (w TIMESTAMP(3), n BIGINT)
    WITH ('connector' = 'filesystem', 'path' = '{place}/out', 'format' = 'json');
    CREATE TABLE p (k INT, n BIGINT)
    WITH ('connector' = 'filesystem', 'path' = '{place}/counts', 'format' = 'debezium-json');
    EXECUTE STATEMENT SET BEGIN
    INSERT INTO o SELECT window_start, COUNT(*) FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
    GROUP BY window_start, window_end;
    INSERT INTO p SELECT k, COUNT(*) FROM t GROUP BY k;
    END;
    """

    def __init__(self, place: Path, **options: object) -> None:
        self.place, self.clock = place, SkippingClock()
        Failing.clock = self.clock
        self.said: list[str] = []
        self.scrapes: list[Samples] = []
        self.on_epoch: Callable[[Progress], None] = lambda p: None
        (place / "in").mkdir(exist_ok=True)
        lines = [row(i, i) for i in range(ROWS - LATE)] + [row(i, 0) for i in range(LATE)]
        lines[10:10] = ["{", "no", '{"k": ']
        (place / "in/rows.json").write_text("\n".join(lines) + "\n")
        self.options = {
            "pipeline.name": "j",
            "execution.runtime-mode": "streaming",
            "execution.epoch.max-rows": "100",
            "execution.checkpointing.interval": "1 ms",
            "metrics.reporter.prom.port": "0",
            **{str(k): str(v) for k, v in options.items()},
        }
        self.session: Session | None = None

    @property
    def url(self) -> str:
        (found,) = {m[1] for s in self.said if (m := re.fullmatch(r"metrics for Prometheus: (\S+)", s))}
        return found

    def scrape(self) -> Samples:
        self.scrapes.append(scraped(self.url))
        return self.scrapes[-1]

    def at(self, epoch: int) -> None:
        """It is scraped in that epoch."""

        def look(p: Progress) -> None:
            if p.epoch == epoch:
                self.scrape()

        self.on_epoch = look

    def run(self, **more: str) -> Progress:
        self.session = Session(
            options={**self.options, **more},
            working_directory=str(self.place),
            clock=self.clock,  # type: ignore[arg-type]
            on_message=self.said.append,
            on_progress=lambda p: self.on_epoch(p),
        )
        progress = Progress()
        for result in self.session.execute(self.script.format(place=self.place)):
            progress = result.progress or progress
        return progress


def row(key: int, second: int) -> str:
    stamp = f"2024-01-01 {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return json.dumps({"k": key % KEYS, "v": key, "ts": stamp})


def lines(place: Path) -> int:
    return sum(len(f.read_text().splitlines()) for f in place.glob("part-*"))


# ---- names


def test_names_are_those_of_flink() -> None:
    assert {m.name for m in JOB_METRICS if not m.ours} == OF_JOBS
    assert {m.name for m in OPERATOR_METRICS if m.of_task} == OF_TASKS
    assert {m.name for m in OPERATOR_METRICS if not m.ours and not m.name.startswith("rocksdb_")} == OF_OPERATORS
    for metrics in (JOB_METRICS, OPERATOR_METRICS):
        names = [(m.name, m.ours) for m in metrics]
        assert len(set(names)) == len(names) and all(m.doc for m in metrics)


def test_names_and_labels_of_a_job(tmp_path: Path) -> None:
    """Scope and labels as Flink's reporter writes them, whole: a dashboard looks for exactly these."""
    project = Project(tmp_path)
    project.at(13)
    project.run()
    found = project.scrapes[-1]
    assert {JOB + n for n in OF_JOBS} <= found.keys()
    of_files = OF_OPERATORS - {"pendingRecords"}  # which files do not tell
    assert {TASK + n for n in OF_TASKS} | {OPERATOR + n for n in of_files} <= found.keys()
    assert OPERATOR + "pendingRecords" not in found
    job = {"job_id", "job_name", "host"}
    task = {*job, "tm_id", "task_id", "task_name", "subtask_index"}
    for name, samples in found.items():
        extra = {"sqlstream_job_state": {"state"}, "sqlstream_job_info": {"version"}}.get(name, set())
        extra = extra | ({"window", "function"} if name.endswith("InWindow") else set())
        extra = extra | ({"state"} if name == "sqlstream_operator_stateRows" else set())
        for labels, _ in samples:
            if name.startswith((OPERATOR, "sqlstream_operator_")):
                assert labels.keys() == {*task, "operator_id", "operator_name", *extra}
            elif name.startswith(TASK):
                assert labels.keys() == task
            elif name.startswith((JOB, "sqlstream_job_")):
                assert labels.keys() == job | extra, name
            else:
                assert name.startswith("process_") and not labels
            assert labels.get("job_name", "j") == "j"
    assert one(found, "process_resident_memory_bytes") > 1 << 20


def test_every_figure_of_rocksdb_is_there_when_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "stepwise", lambda: True)  # a checkpoint with each epoch, waited for
    monkeypatch.setattr(loop, "MEASURE", 0.0)  # state is looked at with each epoch, and not each second
    options = {f"state.backend.rocksdb.metrics.{name}": "true" for name in STORE_METRICS}
    project = Project(
        tmp_path,
        **options,
        **{
            "state.changelog.enabled": "false",
            "state.backend.rocksdb.block.cache-size": "1mb",
            "state.backend.rocksdb.memory.managed": "false",
        },
    )
    wanted = Project(tmp_path)

    def look(p: Progress) -> None:
        if p.epoch >= 19 and p.checkpoint is not None:
            project.scrape()

    project.on_epoch = look
    project.run()
    prefix = OPERATOR + "rocksdb_"
    found = {n.removeprefix(prefix): s for x in project.scrapes for n, s in x.items() if n.startswith(prefix)}
    # Flink's names: of properties those of RocksDB, of statistics those of its tickers
    expected = {n.replace("-", "_") for n in STORE_METRICS} - {"num_files_at_level"}
    expected -= {"compaction_read_bytes", "compaction_write_bytes"}
    expected |= {"compact_read_bytes", "compact_write_bytes", *(f"num_files_at_level{i}" for i in range(7))}
    assert set(found) == expected
    keys = {of["operator_id"].split("-")[0]: v for of, v in found["estimate_num_keys"]}
    assert keys["GroupAggregate"] >= KEYS
    assert all(v > 0 for of, v in found["bytes_written"] if of["operator_id"].startswith("GroupAggregate"))

    wanted.at(15)
    wanted.run(**{"pipeline.name": "without"})
    assert not [n for n in wanted.scrapes[0] if n.startswith(prefix)]  # off by default


# ---- values


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_values_are_those_of_the_input(tmp_path: Path, parallelism: str) -> None:
    """Asked in the middle of an epoch, by the thread that runs the job: nobody waits for it."""
    project = Project(tmp_path, **{"parallelism.default": parallelism})

    def look(p: Progress) -> None:
        if p.rows_in == ROWS and (not project.scrapes or p.watermark > 2**62):
            project.scrape()

    project.on_epoch = look
    progress = project.run()
    assert progress.state == "FINISHED" and progress.late_rows == LATE and progress.skipped_records == BAD
    found = project.scrapes[-1]
    assert total(found, OPERATOR + "numRecordsIn", operator_name="Source: t") == ROWS
    assert total(found, TASK + "numRecordsIn", task_name="Source: t") == ROWS
    assert total(found, OPERATOR + "numRecordsInErrors") == BAD == one(found, "sqlstream_job_badRows")
    window = [n for of, n in found[OPERATOR + "numLateRecordsDropped"] if "Window" in of["operator_id"]]
    assert sum(window) == total(found, OPERATOR + "numLateRecordsDropped") == LATE
    assert len(window) == int(parallelism) == len({of["subtask_index"] for of, _ in found[OPERATOR + "numRecordsIn"]})
    assert one(found, "sqlstream_job_lateRows") == LATE == one(found, "sqlstream_job_lateRowsInWindow", function="sum")
    assert one(found, "sqlstream_job_badRowsInWindow", function="sum") == BAD
    assert one(found, "sqlstream_job_rowsIn") == ROWS
    assert total(found, OPERATOR + "numBytesIn") == (tmp_path / "in/rows.json").stat().st_size
    assert total(found, OPERATOR + "pendingBytes") == 0 == total(found, "sqlstream_operator_reconnects")
    assert total(found, OPERATOR + "numRecordsSendErrors") == 0 < total(found, OPERATOR + "currentSendTime")
    for table, place in (("o", "out"), ("p", "counts")):
        of_sink = {"operator_name": f"Sink: {table}"}
        written = total(found, OPERATOR + "numRecordsSend", **of_sink)
        assert written == total(found, OPERATOR + "numRecordsOut", **of_sink) == lines(tmp_path / place)
    rows = [n for of, n in found["sqlstream_operator_stateRows"] if of["operator_id"].startswith("GroupAggregate")]
    assert sum(rows) <= KEYS
    assert one(found, "sqlstream_job_parallelism") == int(parallelism)
    busy = [n for _, n in found[TASK + "busyTimeMsPerSecond"]]
    assert all(n >= 0 for n in busy) and sum(busy) > 0


def test_watermarks_and_lag(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.at(10)
    project.run()
    (found,) = project.scrapes
    mark = 1_704_067_200_000 + 999_000  # 2024-01-01, and the second of row 999
    assert one(found, "sqlstream_job_watermark") == mark
    assert one(found, OPERATOR + "currentOutputWatermark", operator_name="Source: t") == mark
    windows = [n for of, n in found[OPERATOR + "currentInputWatermark"] if "Window" in of["operator_id"]]
    assert windows == [mark]
    now = project.clock.now() / 1000
    assert 0 <= now - mark - one(found, OPERATOR + "watermarkLag", operator_name="Source: t") < 60_000
    assert 0 <= now - mark - one(found, "sqlstream_job_watermarkLag") < 60_000
    lag = one(found, "sqlstream_job_watermarkLagInWindow", function="max")
    assert now - mark - lag + 1e6 >= 0 and one(found, "sqlstream_job_watermarkLagInWindow", function="range") >= 0


def test_failed_checkpoints(tmp_path: Path) -> None:
    """The store is away while some checkpoints are taken: they are counted, in all and in the window."""
    project = Project(
        tmp_path,
        **{
            "execution.checkpointing.dir": "failing:///cp",
            "execution.checkpointing.tolerable-failed-checkpoints": "1000",
            "execution.epoch.max-rows": "20",
        },
    )

    def look(p: Progress) -> None:
        time.sleep(0.003)
        Failing.away = p.failed_checkpoints < 4 and p.checkpoint is not None
        project.scrape()

    project.on_epoch = look
    progress = project.run()
    assert progress.failed_checkpoints == 4
    history = read(tmp_path / ".sqlstream/j")
    assert history.counts.failed == 4
    failed = [one(s, JOB + "numberOfFailedCheckpoints") for s in project.scrapes]
    assert failed[0] == 0 and failed[-1] == 4 and failed == sorted(failed)
    last = project.scrapes[-1]
    for function in ("sum", "range"):
        assert one(last, "sqlstream_job_failedCheckpointsInWindow", function=function, window="5 min") == 4
    completed = one(last, JOB + "numberOfCompletedCheckpoints")
    assert completed == one(last, "sqlstream_job_completedCheckpointsInWindow", function="sum") > 4
    assert one(last, JOB + "totalNumberOfCheckpoints") == completed + 4 + one(
        last, JOB + "numberOfInProgressCheckpoints"
    )
    by_id = {r.id: r for r in history.history}
    record = by_id[int(one(last, JOB + "lastCompletedCheckpointId"))]
    assert one(last, JOB + "lastCheckpointDuration") == record.end_to_end_duration
    assert one(last, JOB + "lastCheckpointSize") == record.checkpointed_size > 0
    assert one(last, JOB + "lastCheckpointFullSize") == record.state_size > 0
    assert total(last, "sqlstream_operator_lastCheckpointFullSize") == record.state_size
    assert one(last, JOB + "lastCheckpointCompletedTimestamp") == record.trigger_timestamp + record.end_to_end_duration
    assert one(project.scrapes[0], JOB + "lastCheckpointDuration") == -1
    assert one(last, JOB + "lastCheckpointRestoreTimestamp") == -1
    # while the store was away the last one became old
    assert max(one(s, "sqlstream_job_timeSinceLastCheckpoint") for s in project.scrapes) > 10


def test_restarts(tmp_path: Path) -> None:
    """Counters go on over restarts, and the endpoint answers while the job waits for its next attempt."""
    project = Project(tmp_path, **{"execution.checkpointing.dir": "failing:///cp", "execution.epoch.max-rows": "20"})
    asleep: list[Samples] = []
    rest = project.clock.wait

    def wait(event: threading.Event, seconds: float) -> bool:
        asleep.append(project.scrape())
        out = rest(event, seconds)
        asleep.append(project.scrape())
        Failing.away = len(asleep) < 6
        return out

    project.clock.wait = wait  # type: ignore[method-assign]

    def look(p: Progress) -> None:
        time.sleep(0.003)
        if p.epoch >= 30 and p.checkpoint is not None and not Failing.asked_at:
            Failing.away = True
        if not p.epoch % 7 or p.rows_in == ROWS:
            project.scrape()

    project.on_epoch = look
    progress = project.run()
    assert progress.state == "FINISHED" and progress.attempt == 4
    assert all(one(s, "sqlstream_job_state", state="RESTARTING") == 1 for s in asleep)
    assert all(one(s, JOB + "uptime") == 0 for s in asleep)
    # the clock says that it waited: all that time, and more than nothing
    assert [one(s, JOB + "restartingTime") > 900 for s in asleep] == [False, True] * 3
    last = project.scrapes[-1]
    assert one(last, JOB + "numRestarts") == one(last, JOB + "fullRestarts") == 3
    assert one(last, "sqlstream_job_restartsInWindow", function="sum") == 3
    assert one(last, "sqlstream_job_restartsInWindow", function="range") == 3
    assert one(last, JOB + "lastCheckpointRestoreTimestamp") > 0
    assert one(last, "sqlstream_job_state", state="RUNNING") == 1 and one(last, JOB + "uptime") > 0
    for name in ("numRecordsIn", "numRecordsOut", "numRecordsSend"):
        for operator in {of["operator_id"] for of, _ in last[OPERATOR + name]}:
            seen = [total(s, OPERATOR + name, operator_id=operator) for s in project.scrapes if OPERATOR + name in s]
            assert seen == sorted(seen), (name, operator)
    # rows since the last checkpoint were read again
    assert one(last, "sqlstream_job_rowsIn") > ROWS
    ages = [one(s, "sqlstream_job_timeSinceLastCheckpoint") for s in asleep]
    assert ages == sorted(ages) and ages[-1] > 1000 * sum(project.clock.waits[:3])  # a restart is no checkpoint


# ---- the endpoint


def test_hostile_names(tmp_path: Path) -> None:
    """Names of jobs and tables are any text: they come through as they are, or filtered as Flink does."""
    names = ['a"b\\c\nd{x="y"} 1 # é', "x" * 60 + "\t"]

    def script(table: str) -> str:
        return Project.script.replace("TABLE t", f"TABLE `{table}`").replace("FROM t", f"FROM `{table}`")

    for number, (job, table, filtered) in enumerate(product(('j"{}\\', "größe µ"), names, (False, True))):
        place = tmp_path / str(number)
        place.mkdir()
        project = Project(place, **{"pipeline.name": job})
        project.script = script(table).replace("{x", "{{x").replace('y"}', 'y"}}')
        project.at(1)
        project.run(**{"metrics.reporter.prom.filterLabelValueCharacters": str(filtered)})
        (directory,) = (place / ".sqlstream").iterdir()
        for name, label, plain in (
            (OPERATOR + "numRecordsInErrors", "operator_name", f"Source: {table}"),
            (JOB + "uptime", "job_name", directory.name),
        ):
            shown = {of[label] for of, _ in project.scrapes[0][name]}
            assert shown == {re.sub("[^a-zA-Z0-9:_]", "_", plain) if filtered else plain}


def free_ports(n: int) -> list[int]:
    """Some that follow each other."""
    while True:
        with closing(socket.socket()) as s:
            s.bind(("127.0.0.1", 0))
            first = int(s.getsockname()[1])
        if first + n < 65535 and all(_free(first + i) for i in range(n)):
            return [first + i for i in range(n)]


def _free(port: int) -> bool:
    with closing(socket.socket()) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_ports(tmp_path: Path) -> None:
    """A taken port: the next one of the range; none left: an error that says so. A job that has ended gives its port back."""
    ports = free_ports(2)
    given = f"{ports[0]}-{ports[1]}"

    def run(name: str, port: str) -> str:
        project = Project(tmp_path, **{"pipeline.name": name, "metrics.reporter.prom.port": port})
        project.at(1)
        project.run()
        assert len(project.scrapes) == 1
        return project.url

    assert run("a", given) == f"http://127.0.0.1:{ports[0]}/metrics" == run("b", given)
    with closing(socket.create_server(("127.0.0.1", ports[0]))):
        assert run("c", given) == f"http://127.0.0.1:{ports[1]}/metrics" == run("d", f"{ports[0]} , {ports[1]}")
        with closing(socket.create_server(("127.0.0.1", ports[1]))):
            with pytest.raises(OptionError, match=f"port': {given} of 127.0.0.1 is in use") as error:
                run("e", given)
            assert "9250-9260" in str(error.value.hint)
            with pytest.raises(OptionError, match=f"{ports[0]} of 127.0.0.1 is in use"):
                run("f", str(ports[0]))
    assert run("e", given) == f"http://127.0.0.1:{ports[0]}/metrics"  # nothing was left behind


@pytest.mark.parametrize("port", ["", "x", "9260-9250", "65536", "9250-", "1,,2", "-1", "9250;9251", "123456"])
def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(OptionError, match="expected ports such as '9250' or '9250-9260'"):
        Session(options={"metrics.reporter.prom.port": port})


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "is no address of this machine"), ("no such host", "there is no host")]
)
def test_hosts_that_are_none(tmp_path: Path, host: str, said: str) -> None:
    with pytest.raises(OptionError, match=f"'metrics.reporter.prom.host': .*{said}"):
        Project(tmp_path, **{"metrics.reporter.prom.host": host}).run()


def test_options_of_flink() -> None:
    """A script of Flink's with its reporter runs as it is; another reporter is refused."""
    assert find(SESSION_OPTIONS, "metrics.reporters") is not None
    factory = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
    assert has_one_value("metrics.reporter.prom.factory.class", factory)
    assert without_effect("metrics.scope.operator")
    with pytest.raises(OptionError, match="'metrics.reporters': 'influxdb' is not a value of it"):
        Session(options={"metrics.reporters": "influxdb"})
    with pytest.raises(OptionError, match="unknown option 'metrics.reporter.prom.prot'"):
        Session(options={"metrics.reporter.prom.prot": "9250"})


def test_a_slow_client_is_nobody_elses_concern(tmp_path: Path) -> None:
    project = Project(tmp_path)
    slow: list[socket.socket] = []

    def look(p: Progress) -> None:
        if p.epoch != 3:
            return
        host, port = re.fullmatch(r"http://(.*):(\d+)/metrics", project.url).groups()  # type: ignore[union-attr]
        for sent in (b"", b"GET /metr", b"\x00\xff" * 100, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000):
            slow.append(socket.create_connection((host, int(port))))
            slow[-1].sendall(sent)
        found = project.scrape()
        assert one(found, JOB + "numRestarts") == 0
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(project.url, data=b"x", timeout=20)

    project.on_epoch = look
    begun = time.monotonic()
    assert project.run().state == "FINISHED"  # nor does its end wait for them
    assert time.monotonic() - begun < 9 and project.scrapes
    for s in slow:
        s.close()


def test_two_parts_of_the_answer(tmp_path: Path) -> None:
    """Prometheus may ask for some names only."""
    project = Project(tmp_path)

    def look(p: Progress) -> None:
        if p.epoch == 3:
            found = scraped(f"{project.url}?name[]={JOB}numRestarts&name[]={TASK}numRecordsIn")
            project.scrapes.append(found)

    project.on_epoch = look
    project.run()
    assert set(project.scrapes[0]) == {JOB + "numRestarts", TASK + "numRecordsIn"}


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "sqlstream.metrics.prometheus", raising=False)
    with pytest.raises(OptionError, match="needs the package prometheus_client, which is not installed") as error:
        Project(tmp_path).run()
    assert error.value.hint == "pip install 'sqlstream-engine[prometheus]'"


def test_nothing_is_loaded_where_nobody_asks(tmp_path: Path) -> None:
    program = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_metrics import Project
for name in [n for n in sys.modules if n.startswith(("prometheus_client", "wsgiref", "sqlstream.metrics.prometheus"))]:
    del sys.modules[name]
project = Project(Path({str(tmp_path)!r}))
del project.options["metrics.reporter.prom.port"]
threads = []
project.on_epoch = lambda p: threads.extend(t.name for t in threading.enumerate())
assert project.run().state == "FINISHED"
found = [n for n in sys.modules if n.startswith(("prometheus_client", "wsgiref", "sqlstream.metrics.prometheus"))]
assert not found and threads and "metrics" not in threads, found
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_queries_have_none(tmp_path: Path) -> None:
    said: list[str] = []
    options = {"metrics.reporter.prom.port": "0", "execution.runtime-mode": "streaming"}
    (result,) = Session(options=options, on_message=said.append).execute(
        "SELECT COUNT(*) FROM (VALUES (1), (2)) AS t(x)"
    )
    assert [b.num_rows for b, _ in result.batches()] and not [s for s in said if "Prometheus" in s]
