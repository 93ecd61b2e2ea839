"""The endpoint for Prometheus: the one door to `prometheus_client`, imported where the options of a job ask for it.

    with Endpoint(figures, tick, "127.0.0.1", (range(9250, 9261),)) as endpoint:
        endpoint.url                        # http://127.0.0.1:9250/metrics

It answers in threads of its own, from figures that are taken when it is asked. As in Flink all metrics are gauges to
Prometheus, whose functions do not care: in its text format a counter's name would end in `_total`.
"""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily

from sqlstream.errors import OptionError
from sqlstream.metrics.figures import JobFigures, OperatorFigures
from sqlstream.metrics.registry import (
    JOB_LABELS,
    JOB_METRICS,
    OPERATOR_LABELS,
    OPERATOR_METRICS,
    TASK_LABELS,
    Value,
    job_name,
    operator_name,
    task_name,
)

TICK = 0.1  # seconds between two calls of `tick`; it ends as soon
PATIENCE = 10.0  # seconds for a client to send its request, and to take the answer
_FILTERED = re.compile("[^a-zA-Z0-9:_]")  # Flink's


class Endpoint:
    """Listens while the context lasts, on the first port that is free. OptionError when none is, or the host is none of
    this machine's."""

    def __init__(
        self,
        figures: Callable[[], JobFigures],
        tick: Callable[[], None],
        host: str,
        ports: Sequence[range],
        filtered: bool = False,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(_Collector(figures, filtered))
        ProcessCollector(registry=registry)
        self._server = _listening(host, ports, tick)
        self._server.set_app(make_wsgi_app(registry))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(TICK,), name="metrics", daemon=True)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/metrics"

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two jobs on one port would each get a part of the requests
    request_queue_size = 32

    def __init__(self, family: socket.AddressFamily, address: tuple[Any, ...], tick: Callable[[], None]) -> None:
        self.address_family = family
        self._tick = tick
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask for the host's name, which may take long
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def service_actions(self) -> None:
        self._tick()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of a client that went away, or was too slow: nobody else is concerned."""


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads a log of requests."""


def _listening(host: str, ports: Sequence[range], tick: Callable[[], None]) -> _Server:
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as e:
        raise OptionError(f"option 'metrics.reporter.prom.host': there is no host '{host}': {e}") from None
    for port in (p for some in ports for p in some):
        try:
            return _Server(family, (address[0], port, *address[2:]), tick)
        except OSError as e:
            if e.errno == errno.EADDRNOTAVAIL:
                raise OptionError(
                    f"option 'metrics.reporter.prom.host': '{host}' is no address of this machine"
                ) from None
            if e.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise OptionError(f"option 'metrics.reporter.prom.port': {host}:{port}: {e.strerror}") from None
            refused = e
    shown = ",".join(f"{r[0]}" if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in ports)
    if refused.errno == errno.EACCES:
        raise OptionError(
            f"option 'metrics.reporter.prom.port': this user may not listen on {shown}", hint="take a port above 1023"
        )
    raise OptionError(
        f"option 'metrics.reporter.prom.port': {shown} of {host} is in use, by another job perhaps",
        hint="a range has room for several jobs: SET 'metrics.reporter.prom.port' = '9250-9260'",
    )


class _Collector:
    """What `prometheus_client` asks at each request."""

    def __init__(self, figures: Callable[[], JobFigures], filtered: bool) -> None:
        self._figures, self._filtered = figures, filtered

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Which there are, without values."""
        names = {job_name(m): m.doc for m in JOB_METRICS}
        names |= {name(m): m.doc for m in OPERATOR_METRICS for name in (operator_name, *[task_name] * m.of_task)}
        return [GaugeMetricFamily(name, doc) for name, doc in names.items()]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All metrics that have a value."""
        job = self._figures()
        shared = {"job_id": job.id, "job_name": job.job, "host": job.host}
        for of_job in JOB_METRICS:
            samples = _samples(of_job.value(job), of_job.labels)
            yield from self._family(
                job_name(of_job), of_job.doc, JOB_LABELS + of_job.labels, [(shared | s, v) for s, v in samples]
            )
        labels = {id(o): shared | _labels(o, job.host) for o in job.operators}
        for metric in OPERATOR_METRICS:
            found = [(labels[id(o)] | s, v) for o in job.operators for s, v in _samples(metric.value(o), metric.labels)]
            yield from self._family(operator_name(metric), metric.doc, OPERATOR_LABELS + metric.labels, found)
            if metric.of_task:
                yield from self._family(task_name(metric), metric.doc, TASK_LABELS + metric.labels, found)

    def _family(
        self, name: str, doc: str, labels: tuple[str, ...], samples: Sequence[tuple[Mapping[str, str], float]]
    ) -> Iterator[GaugeMetricFamily]:
        if samples:
            family = GaugeMetricFamily(name, doc, labels=labels)
            for of, value in samples:
                family.add_metric([self._shown(of[label]) for label in labels], value)
            yield family

    def _shown(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode()  # a name of bytes that are no text would end each request
        return _FILTERED.sub("_", text) if self._filtered else text


def _labels(operator: OperatorFigures, host: str) -> dict[str, str]:
    """An operator is a task of its own, as in Flink where operators are not chained."""
    names = {"task_id": operator.id, "task_name": operator.name}
    return names | {
        "tm_id": host,
        "subtask_index": str(operator.subtask),
        "operator_id": operator.id,
        "operator_name": operator.name,
    }


def _samples(value: Value, labels: tuple[str, ...]) -> list[tuple[dict[str, str], float]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(dict(zip(labels, names, strict=True)), number) for names, number in value.items()]
    return [({}, value)]
