"""What docs/monitoring.md says: a submitted job's endpoint, rules that name what there is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sqlstream.metrics.registry import (
    JOB_LABELS,
    JOB_METRICS,
    OPERATOR_LABELS,
    OPERATOR_METRICS,
    TASK_LABELS,
    job_name,
    operator_name,
    task_name,
)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
FILES = {m[1]: m[2] for m in re.finditer(r"^```yaml\n# (\S+)\n(.*?)^```$", PAGE, re.M | re.S)}

NAMES = {job_name(m): {*JOB_LABELS, *m.labels} for m in JOB_METRICS}
NAMES |= {operator_name(m): {*OPERATOR_LABELS, *m.labels} for m in OPERATOR_METRICS}
NAMES |= {task_name(m): {*TASK_LABELS, *m.labels} for m in OPERATOR_METRICS if m.of_task}
NAMES["up"] = {"job", "instance"}


@pytest.mark.parametrize(
    "rule", yaml.safe_load(FILES["sqlstream.rules.yml"])["groups"][0]["rules"], ids=lambda r: r["alert"]
)
def test_a_rule_is_about_a_metric_that_there_is(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "annotations"} and re.fullmatch(r"\w+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    found = re.findall(r"\b(?:up|(?:flink|sqlstream)_\w+)", rule["expr"])
    assert len(found) == 1 and found[0] in NAMES, rule["expr"]
    labels = NAMES[found[0]]
    for part in re.findall(r"\{([^}]*)\}", rule["expr"]):
        assert {m[0] for m in re.findall(r'(\w+)="([^"]*)"', part)} <= labels
    kept = re.search(r"by \(([^)]*)\)", rule["expr"])
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= (labels if kept is None else set(kept[1].split(", ")) & labels)
    for opening, closing in ("()", "[]", "{}"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)
    if found[0] != "up":  # units are said as the registry says them
        milliseconds = re.search(r"Time|Lag", found[0]) is not None and "busy" not in found[0]
        (doc,) = {
            m.doc for m in (*JOB_METRICS, *OPERATOR_METRICS) if found[0].endswith(f"_{m.name}") and _is(m, found[0])
        }
        assert ("ms " in doc) or not milliseconds


def _is(metric: Any, name: str) -> bool:
    return name in {of(metric) for of in (job_name, operator_name, task_name)}


def test_prometheus_takes_the_configuration() -> None:
    made = yaml.safe_load(FILES["prometheus.yml"])
    assert made["rule_files"] == ["sqlstream.rules.yml"]
    (scrape,) = made["scrape_configs"]
    assert scrape["job_name"] == "sqlstream"  # which the rule about `up` names
    assert all(re.fullmatch(r"127\.0\.0\.1:92\d\d", t) for t in scrape["static_configs"][0]["targets"])


class Place:
    """A directory with a job of its own; one that still runs at the end is killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path / "work", path / "state"
        self.path.mkdir()
        self.pids: set[int] = set()
        (self.path / "orders.sql").write_text(
            "CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '500', 'fields.n.min' = '1',"
            " 'fields.n.max' = '5');\nCREATE TABLE counted (n INT, c BIGINT) WITH ('connector' = 'blackhole');\n"
            "INSERT INTO counted SELECT n, COUNT(*) FROM numbers GROUP BY n;\n"
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.state)}
        done = subprocess.run(
            [sys.executable, "-m", "sqlstream", *arguments],
            cwd=self.path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.pids |= {int(pid) for pid in re.findall(r"runs: process (\d+),", done.stdout)}
        return done

    def status(self, job: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self("status", job, "--output", "json").stdout)
        return value


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for pid in made.pids:
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(str(made.path)):
                os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def read(url: str) -> dict[str, float]:
    """Of metrics with one sample."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {s.name: s.value for f in families for s in f.samples}


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


OPTIONS = ("-D", "execution.checkpointing.interval=200 ms", "-D", "metrics.reporter.prom.port=0")


def test_a_submitted_job(place: Place) -> None:
    done = place("submit", "orders.sql", *OPTIONS)
    assert done.returncode == 0, done.stderr
    url = place.status("orders")["metrics"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
    shown = place("status", "orders").stdout
    assert re.search(rf"^metrics +{url}$", shown, re.M) and "last 5 min" not in shown
    first = read(url)
    until(lambda: read(url)["flink_jobmanager_job_numberOfCompletedCheckpoints"] >= 2)
    until(lambda: read(url)["sqlstream_job_rowsIn"] > first["sqlstream_job_rowsIn"])

    assert place("restart", "orders").returncode == 0
    until(lambda: read(url)["flink_jobmanager_job_numRestarts"] == 1)
    status = place.status("orders")
    assert (status["restarts"], status["window_restarts"], status["window"], status["metrics"]) == (1, 1, "5 min", url)
    assert re.search(r"^last 5 min +1 restart$", place("status", "orders").stdout, re.M)

    other = place(
        "submit", "orders.sql", "--name=other", *OPTIONS[:3], f"metrics.reporter.prom.port={url.split(':')[2][:-8]}"
    )
    assert other.returncode == 1 and "is in use, by another job perhaps" in other.stderr and "9250-9260" in other.stderr

    assert place("stop", "orders").returncode == 0
    with pytest.raises(urllib.error.URLError):
        read(url)
    assert "metrics" not in place("status", "orders").stdout.replace("metrics for Prometheus", "")
