"""``run.json``: the settings, data and versions of a run, and what changed at each start."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from catdcgan import __version__
from catdcgan.errors import RunError
from catdcgan.files import atomic_write
from catdcgan.settings import FIXED


def record_start(file: Path, step: int, settings: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Record a start of training in an atomic write; call it under the `lock`.

    At step 0 the record is new: an earlier start in the folder, if any, left no checkpoint. A resumed run
    adds an entry with the settings and versions that changed since the previous start. A run of an older
    version of this program, which has no record, gets one from then on.

    Args:
        file: ``run.json`` in the run's folder.
        step: the step that training continues from; 0 for a new run.
        settings: by name, as JSON can hold them.
        data: facts about the images, such as their number, shape and fingerprint.

    Raises:
        RunError: as in `changed_options`.
        OSError: the file cannot be written; an existing file is kept.
    """
    before = read_record(file) if step else None
    versions = _versions()
    changed: dict[str, list[Any]] = {}
    if before:
        changed = changed_options(file, settings, data) | _differences(before["versions"], versions)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {
        "options": dict(settings),
        "data": dict(data),
        "versions": versions,
        "starts": [*(before["starts"] if before else []), {"time": now, "step": step, "changed": changed}],
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
    changed = _differences(before["options"], settings)
    fixed = {name: pair for name, pair in changed.items() if name in FIXED}
    fixed |= {f"data {name}": pair for name, pair in _differences(before["data"], data).items()}
    conflicts = [
        f"{name} {_as_text(was)}, now {_as_text(now)}"
        for name, (was, now) in fixed.items()
        if None not in (was, now)
    ]
    if conflicts:
        raise RunError(
            f"{file.parent} was started with {'; '.join(conflicts)}: "
            "resume with the old settings, or start a new run in another folder"
        )
    return changed


def read_record(file: Path) -> dict[str, Any] | None:
    """Read what `record_start` wrote for a run; None if there is no such file.

    Raises:
        RunError: the file is damaged.
    """
    try:
        record = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # not text, or not JSON
        record = None
    match record:
        case {"options": dict(), "data": {"images": int()}, "versions": dict(), "starts": list()}:
            return dict(record)
    raise RunError(f"{file} is damaged: remove it, and the run goes on without a record of its settings")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, now]} of all that differs between values read from JSON and values to be written."""
    now = json.loads(json.dumps(now))  # turns tuples into lists
    names = [*before, *(name for name in now if name not in before)]
    pairs = {name: [before.get(name), now.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _as_text(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def _versions() -> dict[str, str]:
    from catdcgan.tf1 import GPUS, tf

    return {
        "catdcgan": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": "GPU" if GPUS else "CPU",
    }
