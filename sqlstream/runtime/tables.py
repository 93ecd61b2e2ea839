"""What a checkpoint remembers of its job's tables, and how that is compared when the job goes on.

A job that goes on with another path, format or option would mix the rows of two jobs, or skip those of the second.
Secrets are remembered as hashes. Options that say nothing about rows (`Option.compared`) may change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sqlstream import sink_options, watermark_options
from sqlstream.connectors.registry import connector_class
from sqlstream.errors import CheckpointError
from sqlstream.options import Option, find, shown

Tables = Mapping[str, Mapping[str, str]]  # by name: options as written, 'connector' among them

_SET = "(set)"
_ROUNDS = 50_000  # of the hash: a manifest must not give away a password that is easily guessed


def remembered(tables: Tables, run: str) -> dict[str, dict[str, str]]:
    """What goes into the manifest of a run."""
    return {name: _options(options, run) for name, options in sorted(tables.items())}


def _options(options: Mapping[str, str], run: str) -> dict[str, str]:
    connector = connector_class(options.get("connector", ""))
    known: tuple[Option, ...] = (*sink_options.OPTIONS, *watermark_options.OPTIONS)
    if connector is not None:
        known = (*connector().known_options(options), *known)
    out = {}
    for key, text in shown(options).items():
        option = find(known, key)
        compared = "value" if option is None else option.compared
        if compared == "presence":
            out[key] = _SET
        elif compared == "value":
            out[key] = text if text == options[key] else f"{text} ({_hashed(options[key], run)})"
    return out


def _hashed(secret: str, run: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), run.encode(), _ROUNDS).hex()[:16]


def check_tables(job: str, checkpoint: int, before: Tables, now: Tables) -> None:
    """CheckpointError that names the differences, unless both are the same."""
    if found := differences(before, now):
        raise CheckpointError(
            f"the tables of job {job} are not those of its checkpoint {checkpoint}:\n  " + "\n  ".join(found),
            hint="run it with the tables as they were, give the changed job another pipeline.name, or start anew with "
            "--fresh",
        )


def growing(before: Tables, now: Tables) -> Tables:
    """The tables of before, those that end and now are looked at for more among them."""
    key = "source.monitor-interval"
    return {t: {**o, key: now[t][key]} if key in now.get(t, {}) else o for t, o in before.items()}


def differences(before: Tables, now: Tables) -> list[str]:
    """Sentences."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            found.append(f"table {name} is not used any more")
        elif name not in before:
            found.append(f"table {name} was not used")
        else:
            found += _differences(name, before[name], now[name])
    return found


def _differences(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    out = []
    for key in sorted(before.keys() | now.keys()):
        if key not in now:
            out.append(f"table {name}: '{key}' was '{before[key]}', and is not set now")
        elif key not in before:
            out.append(f"table {name}: '{key}' was not set, and is '{now[key]}' now")
        elif before[key] != now[key]:
            out.append(f"table {name}: '{key}' was '{before[key]}', and is '{now[key]}' now")
    return out
