"""``run.json``: the settings, data and versions of a run, and what changed at each start."""

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
from catdcgan.files import atomic_write, parse_json, refuse_special
from catdcgan.settings import FIXED, MOST, from_record

HARDWARE = "device", "cpu", "cores", "workers"  # only with the same ones are bits the same


def record_start(
    file: Path,
    step: int | None,
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    workers: int = 1,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Record a start of training in an atomic write; call it under the `lock`.

    A new run gets a new record: an earlier start in the folder, if any, left no checkpoint. A resumed run
    adds an entry with the settings and versions that changed since the previous start, and warns of other
    hardware. A run of an older version of this program, which has no record, gets one from then on.

    Args:
        file: ``run.json`` in the run's folder.
        step: the step that training continues from; None for a new run.
        settings: by name, as JSON can hold them.
        data: facts about the images, such as their number, shape and fingerprint.
        workers: number of processes that train.
        origin: the checkpoint that a new run starts from, if any.

    Raises:
        RunError: as in `changed_options`.
        OSError: the file cannot be written; an existing file is kept.
    """
    before = None if step is None else read_record(file)
    computing = {**versions(), "workers": workers}
    changed: dict[str, list[Any]] = {}
    if before:
        others = differences({"workers": 1} | before["versions"], computing)
        changed = changed_options(file, settings, data) | others
        _warn_of_other_bits(file, others)
    start = {"time": datetime.now().astimezone().isoformat(timespec="seconds"), "step": step or 0}
    start |= {"changed": changed} | ({"from": dict(origin)} if origin else {})
    record = {
        "options": dict(settings),
        "data": dict(data),
        "versions": computing,
        "starts": [*(before["starts"] if before else []), start],
    }
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def changed_options(file: Path, settings: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Compare the settings given now with those recorded for the run; writes nothing.

    A setting that only one side has, because of another version of this program, counts as changed.

    Args:
        file: ``run.json`` in the run's folder; if it does not exist, nothing has changed.
        settings: as in `record_start`.
        data: as in `record_start`.

    Returns:
        {name: [before, now]} of the settings that differ; None stands for a missing one.

    Raises:
        RunError: the data or a setting in `FIXED` is not what it was, or the file is damaged.
    """
    before = read_record(file)
    if before is None:
        return {}
    changed = differences(before["options"], settings)
    fixed = {name: pair for name, pair in changed.items() if name in FIXED}
    fixed |= {f"data {name}": pair for name, pair in differences(before["data"], data).items()}
    conflicts = [
        f"{name} {as_text(was)}, now {as_text(now)}"
        for name, (was, now) in fixed.items()
        if None not in (was, now)
    ]
    if conflicts and "held_out" in changed:
        was, now = changed["held_out"]
        conflicts.append(f"--held-out {was or 'none'}, now {now or 'none'}")
    if conflicts:
        raise RunError(
            f"{file.parent} was started with {'; '.join(conflicts)}: "
            "resume with the old settings, or start a new run in another folder"
        )
    return changed


def refuse_differences(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse workers that were started with different settings, images or versions.

    Args:
        facts: by the name of the worker: what must be the same, read from JSON.

    Raises:
        RunError: some differ; the message says in what.
    """
    (leader, first), *others = facts.items()
    for worker, other in others:
        if changed := differences(first, other):
            pairs = [
                f"{name} {as_text(here)} and {as_text(there)}" for name, (here, there) in changed.items()
            ]
            raise RunError(
                f"{leader} and {worker} were started with different {'; '.join(pairs)}: "
                "give all workers the same options, pictures and versions"
            )


def read_record(file: Path) -> dict[str, Any] | None:
    """Read what `record_start` wrote for a run; None if there is no such file.

    Raises:
        RunError: the file is damaged.
        InputError: it is a named pipe or a device.
    """
    refuse_special(file)
    try:
        record = parse_json(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # not text, or not JSON
        record = None
    reason = ""
    match record:
        case {"options": dict(), "data": {"images": int(count)}, "versions": dict(), "starts": list()} if (
            0 < count <= MOST
        ):
            try:
                from_record(record["options"])
                if not isinstance(record["data"].get("put_aside", 0), int):
                    raise ValueError("put_aside is no number")
                return dict(record)
            except ValueError as error:
                reason = f" ({error})"
    raise RunError(f"{file} is damaged{reason}: remove it, and resume with the run's settings as options")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, now]} of all that differs between values read from JSON and values to be written."""
    now = json.loads(json.dumps(now))  # turns tuples into lists
    names = [*before, *(name for name in now if name not in before)]
    pairs = {name: [before.get(name), now.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _warn_of_other_bits(file: Path, changed: Mapping[str, list[Any]]) -> None:
    """Warn of other hardware or another number of workers."""
    pairs = {name: changed[name] for name in HARDWARE if None not in changed.get(name, [None])}
    if pairs:
        changes = "; ".join(f"{name} {was}, now {now}" for name, (was, now) in pairs.items())
        warnings.warn(
            f"{file.parent} was trained with {changes}: training continues, but rounding will differ",
            stacklevel=3,
        )


def as_text(value: Any) -> str:
    """A setting as people write it: a shape as 128 x 128 x 3."""
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def versions() -> dict[str, str | int | None]:
    """What this process computes with: versions of programs, and the hardware."""
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
    """The CPU's model name, or its kind if the system tells no more."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if found := re.search(r"^model name\s*: (.+)$", text, re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()
