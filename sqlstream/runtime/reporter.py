"""Starts the endpoint for Prometheus that the options of a job ask for, and ends it with the job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlstream.errors import OptionError
from sqlstream.options import SessionOptions
from sqlstream.runtime.monitor import Monitor

if TYPE_CHECKING:
    from sqlstream.runtime.job import Job

PORTS = (range(9249, 9250),)  # Flink's default


def wanted(options: SessionOptions) -> bool:
    """Whether there is to be one."""
    return options.reporters == "prom" or options.prom_port is not None


@contextlib.contextmanager
def reporting(job: Job) -> Iterator[str | None]:
    """While the context lasts the endpoint answers; its URL, or None where the options want none. OptionError when it
    cannot be had."""
    options = job.options
    if not wanted(options) or not job.writes:
        yield None
        return
    try:
        from sqlstream.metrics.prometheus import Endpoint
    except ModuleNotFoundError as e:
        if not (e.name or "").startswith("prometheus_client"):
            raise
        raise OptionError(
            "an endpoint for Prometheus (option 'metrics.reporter.prom.port' or 'metrics.reporters') needs the package "
            "prometheus_client, which is not installed",
            hint="pip install 'sqlstream-engine[prometheus]'",
        ) from None
    monitor = Monitor(job)
    ports = PORTS if options.prom_port is None else options.prom_port
    with Endpoint(monitor.figures, monitor.tick, options.prom_host, ports, options.prom_filter) as endpoint:
        yield endpoint.url
