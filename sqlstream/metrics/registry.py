"""All metrics: their names, what they mean, and what they are of a job's figures. docs/monitoring.md is made of it.

A metric that Flink has, has its name as Flink's Prometheus reporter writes it: scope, identifier, labels and unit; one of
ours begins with `sqlstream_`. Why so: docs/decisions/045.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.metrics.figures import JobFigures, OperatorFigures, WindowFigures
from sqlstream.metrics.state import StateMetrics
from sqlstream.options import STORE_BY_LEVEL, STORE_LEVELS, STORE_METRICS, STORE_STATISTICS

F = TypeVar("F")
Value = int | float | None | Mapping[tuple[str, ...], float]

JOB_LABELS = ("job_id", "job_name", "host")
TASK_LABELS = (*JOB_LABELS, "tm_id", "task_id", "task_name", "subtask_index")
OPERATOR_LABELS = (*TASK_LABELS, "operator_id", "operator_name")


@dataclass(frozen=True)
class Metric(Generic[F]):
    """One metric. `value`: None where there is none; a number for each value of `labels`, which are beside those of its
    scope. `ours`: Flink has none such. `of_task`: it is there by the name of the task's, too."""

    name: str
    doc: str
    value: Callable[[F], Value]
    labels: tuple[str, ...] = ()
    ours: bool = False
    of_task: bool = False


def job_name(metric: Metric[JobFigures]) -> str:
    """The full name of a job's metric."""
    return f"{'sqlstream_job' if metric.ours else 'flink_jobmanager_job'}_{metric.name}"


def operator_name(metric: Metric[OperatorFigures]) -> str:
    """The full name of an operator's metric."""
    return f"{'sqlstream_operator' if metric.ours else 'flink_taskmanager_job_task_operator'}_{metric.name}"


def task_name(metric: Metric[OperatorFigures]) -> str:
    """The full name of the same metric as one of a task."""
    return f"flink_taskmanager_job_task_{metric.name}"


def _job(name: str, value: Callable[[JobFigures], Value], doc: str) -> Metric[JobFigures]:
    return Metric(name, doc, value)


def _our_job(
    name: str, value: Callable[[JobFigures], Value], doc: str, labels: tuple[str, ...] = ()
) -> Metric[JobFigures]:
    return Metric(name, doc, value, labels, ours=True)


def _task(name: str, value: Callable[[OperatorFigures], Value], doc: str) -> Metric[OperatorFigures]:
    return Metric(name, doc, value, of_task=True)


def _operator(name: str, value: Callable[[OperatorFigures], Value], doc: str) -> Metric[OperatorFigures]:
    return Metric(name, doc, value)


def _our_operator(
    name: str, value: Callable[[OperatorFigures], Value], doc: str, labels: tuple[str, ...] = ()
) -> Metric[OperatorFigures]:
    return Metric(name, doc, value, labels, ours=True)


def _recent(name: str) -> Callable[[JobFigures], Value]:
    def value(job: JobFigures) -> Value:
        found = job.recent.get(name, WindowFigures("", {}))
        return {(found.window, function): number for function, number in found.values.items()}

    return value


def _of_state(of: Callable[[StateMetrics], Value]) -> Callable[[OperatorFigures], Value]:
    return lambda o: None if o.state is None else of(o.state)


def _ms(micros: int | None) -> Value:
    return None if micros is None else micros / 1000


def _millis(watermark: int) -> Value:
    return None if watermark in (END, NO_WATERMARK) else watermark // 1000


_WINDOW = ("window", "function")

JOB_METRICS: tuple[Metric[JobFigures], ...] = (
    _job("runningTime", lambda j: j.running, "ms since the attempt that runs began to run; 0 when none does"),
    _job("uptime", lambda j: j.running, "the same, by the name that it had before"),
    _job("restartingTime", lambda j: j.restarting, "ms that the job waits for its next attempt; 0 when it does not"),
    _job("downtime", lambda j: j.restarting, "the same, by the name that it had before"),
    _job("numRestarts", lambda j: j.restarts, "how many times it was started again, since the process began"),
    _job("fullRestarts", lambda j: j.restarts, "the same, by the name that it had before"),
    _job("totalNumberOfCheckpoints", lambda j: j.checkpoints.total, "checkpoints that were begun"),
    _job("numberOfInProgressCheckpoints", lambda j: j.checkpoints.in_progress, "checkpoints that are under way"),
    _job("numberOfCompletedCheckpoints", lambda j: j.checkpoints.completed, "checkpoints that were completed"),
    _job("numberOfFailedCheckpoints", lambda j: j.checkpoints.failed, "checkpoints that failed"),
    _job("lastCompletedCheckpointId", lambda j: j.checkpoints.last_id, "number of the last one that was completed; or -1"),
    _job("lastCheckpointCompletedTimestamp", lambda j: j.checkpoints.last_completed, "when that was, in ms since 1970; or -1"),
    _job("lastCheckpointDuration", lambda j: j.checkpoints.last_duration, "ms that it took from its trigger on; or -1"),
    _job("lastCheckpointSize", lambda j: j.checkpoints.last_size, "bytes that were uploaded for it; or -1"),
    _job("lastCheckpointFullSize", lambda j: j.checkpoints.last_full_size, "bytes of all its files of state; or -1"),
    _job("lastCheckpointRestoreTimestamp", lambda j: j.checkpoints.restored, "when the job last went on from a checkpoint, in ms since 1970; or -1"),
    _our_job("state", lambda j: {(j.state,): 1}, "1, with the job's state as a label: CREATED, RUNNING, RESTARTING, FINISHED, CANCELED or FAILED", ("state",)),
    _our_job("info", lambda j: {(j.version,): 1}, "1, with the version of sqlstream as a label", ("version",)),
    _our_job("parallelism", lambda j: j.parallelism, "parallel tasks"),
    _our_job("rowsIn", lambda j: j.rows_in, "rows read by all sources, since the process began; what is read again after a restart counts again"),
    _our_job("rowsOut", lambda j: j.rows_out, "changes written by all sinks, counted likewise"),
    _our_job("lateRows", lambda j: j.late_rows, "rows that came too late, counted likewise"),
    _our_job("badRows", lambda j: j.bad_rows, "malformed records that were skipped, counted likewise"),
    _our_job("watermark", lambda j: j.watermark, "the least watermark of the sources, in ms since 1970; absent while there is none"),
    _our_job("watermarkLag", lambda j: j.lag, "ms from that watermark to now"),
    _our_job("stateRows", lambda j: j.state_rows, "rows of keyed state in memory"),
    _our_job("stateBytes", lambda j: j.state_bytes, "bytes of keyed state of the process: in memory, in mapped files and in RocksDB's files"),
    _our_job("timeSinceLastCheckpoint", lambda j: j.checkpoints.age, "ms since a checkpoint was completed, or since the process began while none was; absent for a job that takes none"),
    _our_job("failedCheckpointsInWindow", _recent("failed"), "checkpoints that failed in the last minutes (option metrics.window)", _WINDOW),
    _our_job("completedCheckpointsInWindow", _recent("completed"), "checkpoints that were completed in them", _WINDOW),
    _our_job("restartsInWindow", _recent("restarts"), "how many times the job was started again in them", _WINDOW),
    _our_job("lateRowsInWindow", _recent("late"), "rows that came too late in them", _WINDOW),
    _our_job("badRowsInWindow", _recent("bad"), "malformed records that were skipped in them", _WINDOW),
    _our_job("watermarkLagInWindow", _recent("lag"), "ms from the watermark to now, in them", _WINDOW),
)  # fmt: skip

_OPERATOR_METRICS: tuple[Metric[OperatorFigures], ...] = (
    _task("numRecordsIn", lambda o: o.done.rows_in, "rows and changes that it was given; a source's: that it read"),
    _task("numRecordsInPerSecond", lambda o: o.in_rate, "the same a second, over the last minute"),
    _task("numRecordsOut", lambda o: o.rows_out, "rows and changes that it gave; a sink's: that it wrote"),
    _task("numRecordsOutPerSecond", lambda o: o.out_rate, "the same a second, over the last minute"),
    _task("busyTimeMsPerSecond", lambda o: o.busy, "ms of work a second, over the last minute; those of all operators of a subtask are 1000 at most"),
    _task("numLateRecordsDropped", lambda o: o.done.late, "rows that came too late for it"),
    _task("currentInputWatermark", lambda o: _millis(o.done.input_watermark), "the watermark it was given, the least of its inputs, in ms since 1970; absent while there is none, and when the inputs have ended"),
    _operator("currentOutputWatermark", lambda o: _millis(o.done.output_watermark), "the watermark that it gave, likewise"),
    _operator("watermarkLag", lambda o: o.lag, "ms from a source's watermark to now"),
    _operator("numBytesIn", lambda o: o.done.bytes_in, "bytes that a source has read, of messages and files as they are outside; absent where they are not known (rows of a database)"),
    _operator("pendingRecords", lambda o: o.done.pending_records, "records that are there for a source and not read yet; absent where nobody says how many"),
    _operator("pendingBytes", lambda o: o.done.pending_bytes, "bytes that are there for a source and not read yet: of files, of a log of changes; absent likewise"),
    _operator("currentFetchEventTimeLag", lambda o: _ms(o.done.fetch_lag), "ms from the time of a source's last row to when it was fetched; absent without a time column that the query reads"),
    _operator("currentEmitEventTimeLag", lambda o: _ms(o.done.emit_lag), "ms from that time to when the row was handed to the first operator"),
    _operator("sourceIdleTime", lambda o: o.idle, "ms since a source had a row"),
    _operator("numRecordsInErrors", lambda o: o.done.skipped if o.source else None, "malformed records that a source has skipped"),
    _operator("numRecordsSend", lambda o: o.done.sent if o.sink else None, "changes that a sink has written"),
    _operator("numBytesSend", lambda o: o.done.bytes_sent, "bytes that a sink has written, of messages, and of files when they are whole; absent where they are not known"),
    _operator("numRecordsSendErrors", lambda o: o.done.send_errors if o.sink else None, "changes of which writing has failed; the job fails with them, and a next attempt writes them again"),
    _operator("currentSendTime", lambda o: None if o.done.send_time is None else o.done.send_time * 1000, "ms that a sink took for the rows of the last epoch that had any"),
    _operator("completedMaterialization", _of_state(lambda s: s.folds), "how many times its changes were folded into RocksDB"),
    _operator("lastDurationOfMaterialization", _of_state(lambda s: s.fold_seconds * 1000), "ms that the last time took"),
    _operator("lastFullSizeOfMaterialization", _of_state(lambda s: s.store_bytes), "bytes of RocksDB's files since then"),
    _operator("lastFullSizeOfNonMaterialization", _of_state(lambda s: s.changelog_bytes), "bytes of changes that are not folded yet"),
    _our_operator("reconnects", lambda o: o.done.reconnects if o.source else None, "how often a source has lost its connection, or could not make it, and has tried again by itself"),
    _our_operator("rowGroupsSkipped", lambda o: o.done.row_groups_skipped if o.source else None, "row groups of Parquet files that a source did not read, as its filter leaves no row of them"),
    _our_operator("filesSkipped", lambda o: o.done.files_skipped if o.source else None, "files that it did not read, since by their partition, name or time the filter leaves no row of them"),
    _our_operator("stateRows", _of_state(lambda s: {(name,): n for name, n in s.rows.items()}), "rows in memory, by state", ("state",)),
    _our_operator("stateRowsLeft", _of_state(lambda s: s.left), "rows that left memory for RocksDB, since the attempt began"),
    _our_operator("stateRowsReturned", _of_state(lambda s: s.returned), "rows that came back, likewise"),
    _our_operator("storeFiles", _of_state(lambda s: s.store_files), "RocksDB's sorted files as of the last fold"),
    _our_operator("lastCheckpointSize", lambda o: o.uploaded, "bytes that were uploaded for the last checkpoint"),
    _our_operator("lastCheckpointFullSize", lambda o: o.kept, "bytes of all its files in that checkpoint"),
)  # fmt: skip


def _figure(option: str, name: str) -> Metric[OperatorFigures]:
    called = name.replace("compaction-", "compact-") if option in STORE_STATISTICS else name  # as RocksDB's tickers are
    return _operator(
        f"rocksdb_{called.replace('-', '_')}",
        _of_state(lambda s: s.rocksdb.get(name)),
        f"RocksDB's, where `state.backend.rocksdb.metrics.{option}` is true",
    )


_ROCKSDB = tuple(
    _figure(option, name)
    for option in STORE_METRICS
    for name in ([f"{option}{level}" for level in range(STORE_LEVELS)] if option == STORE_BY_LEVEL else [option])
)

OPERATOR_METRICS = _OPERATOR_METRICS + _ROCKSDB
