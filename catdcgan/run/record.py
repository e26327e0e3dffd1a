"""``run.json``: what a run was made with, and what was changed at each start."""

from __future__ import annotations

import json
import os
import platform
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from catdcgan import __version__
from catdcgan.errors import RunError
from catdcgan.files import atomic_write, parse_json, refuse_pipes
from catdcgan.settings import FIXED, MOST


def record_start(file: Path, step: int, options: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Write down what training starts with, whole or not at all; call it under the `lock`.

    At step 0 the record begins anew: whatever was started there before has left no checkpoint. A resumed run
    adds to it, with the options and versions that have changed since the start before; a warning names
    another CPU or number of cores. A run of an older version of this program, which has no record, gets one
    from there on.

    Args:
        file: ``run.json`` in the folder of the run.
        step: the step that training goes on from; 0 for a fresh start.
        options: the settings by name, as JSON can hold them.
        data: what the pictures are, such as their number, shape and fingerprint.

    Raises:
        RunError: as `changed_options` does.
        OSError: the file cannot be written; what was there before stays.
    """
    before = read_record(file) if step else None
    versions = _versions()
    changed: dict[str, list[Any]] = {}
    if before:
        others = _differences(before["versions"], versions)
        changed = changed_options(file, options, data) | others
        _warn_of_other_bits(file, others)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {
        "options": dict(options),
        "data": dict(data),
        "versions": versions,
        "starts": [*(before["starts"] if before else []), {"time": now, "step": step, "changed": changed}],
    }
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def changed_options(file: Path, options: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Compare the settings to resume with with those that a run has; writes nothing.

    What only one side knows, as another version of this program may, counts as changed.

    Args:
        file: ``run.json`` in the folder of the run; where there is none, nothing has changed.
        options: as in `record_start`.
        data: as in `record_start`.

    Returns:
        {name: [before, now]} of the options that differ; None stands for one that is not there.

    Raises:
        RunError: the data or an option in `FIXED` is not what it was, or the file is damaged.
    """
    before = read_record(file)
    if before is None:
        return {}
    changed = _differences(before["options"], options)
    kept = {name: pair for name, pair in changed.items() if name in FIXED}
    kept |= {f"data {name}": pair for name, pair in _differences(before["data"], data).items()}
    broken = [
        f"{name} {_as_text(was)}, now {_as_text(now)}"
        for name, (was, now) in kept.items()
        if None not in (was, now)
    ]
    if broken:
        raise RunError(
            f"{file.parent} was started with {'; '.join(broken)}: "
            "resume with the old settings, or start anew in another folder"
        )
    return changed


def read_record(file: Path) -> dict[str, Any] | None:
    """Read what `record_start` wrote of a run, or None where there is no such file.

    Raises:
        RunError: the file is damaged.
        InputError: it is a named pipe.
    """
    refuse_pipes(file)
    try:
        record = parse_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # no text, or no JSON
        record = None
    match record:
        case {"options": dict(), "data": {"images": int(count)}, "versions": dict(), "starts": list()} if (
            0 < count <= MOST
        ):
            return dict(record)
    raise RunError(f"{file} is damaged: remove it, and the run goes on without a record of its settings")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, now]} of all that differs between what JSON gave back and what it is to hold."""
    now = json.loads(json.dumps(now))  # a tuple has become a list
    names = [*before, *(name for name in now if name not in before)]
    pairs = {name: [before.get(name), now.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _warn_of_other_bits(file: Path, changed: Mapping[str, list[Any]]) -> None:
    pairs = {name: changed[name] for name in ("cpu", "cores") if None not in changed.get(name, [None])}
    if pairs:
        said = "; ".join(f"{name} {was}, now {now}" for name, (was, now) in pairs.items())
        warnings.warn(
            f"{file.parent} was trained with {said}: it goes on, but to other bits than without a change",
            stacklevel=3,
        )


def _as_text(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def _versions() -> dict[str, str | int | None]:
    from catdcgan.tf1 import GPUS, tf

    return {
        "catdcgan": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": "GPU" if GPUS else "CPU",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _cpu() -> str:
    """The name of the CPU's model, or what kind of CPU it is where the system does not tell more."""
    with suppress(OSError):
        said = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if found := re.search(r"^model name\s*: (.+)$", said, re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()
