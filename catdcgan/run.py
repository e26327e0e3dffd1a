"""The folder of a run: only one program trains in it, and it says what the run was made with.

``run.json`` holds the settings, what the data was, the versions, and each start with what was changed at it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, SoftFileLock, Timeout

from catdcgan import __version__
from catdcgan.errors import InputError
from catdcgan.files import whole_or_nothing
from catdcgan.settings import FIXED

RUN_NAME = "run.json"
RUNS = Path("runs")  # where the numbered runs are

# It stays when the lock is gone: removing it while another program is about to lock it would let two in. Who
# holds it stands in a file of its own, as Windows lets no other program read a locked one.
LOCK_NAME = ".lock"
HOLDER_NAME = ".lock-holder"


class RunError(InputError):
    """The folder of a run cannot be used; the message says why and what to do."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other trainer out of a folder meanwhile, making it if need be.

    The operating system holds the lock, and drops it with the process however that ends: nothing is left to
    clean up after ``kill -9`` or a reboot. A file system without such locks gets a file that names the
    process instead; one left behind by a dead process of this computer is taken over.

    Raises:
        RunError: another program trains there, or this one does already; or the folder cannot be locked.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard = FileLock(folder / LOCK_NAME)
    try:
        held = guard.acquire(timeout=0.2)  # a second look: the first may only clear away what a dead one left
    except Timeout:
        remedy = "wait for it, stop it, or choose another folder"
        if isinstance(guard, SoftFileLock):  # what FileLock turns into where the file system has no locks
            remedy += f"; if it died on another computer, remove {guard.lock_file}"
        raise RunError(f"{folder} is in use by {_holder(folder)}: {remedy}") from None
    except OSError as error:  # such as "no locks available", of a network drive
        raise RunError(f"{folder} cannot be locked ({error}): choose another folder") from error
    with held:
        (folder / HOLDER_NAME).write_text(f"process {os.getpid()} (on {socket.gethostname()})", "utf-8")
        yield


def _holder(folder: Path) -> str:
    """Who trains in the folder; it may have begun so lately that it has not written this yet."""
    try:
        return (folder / HOLDER_NAME).read_text("utf-8") or "another program"
    except FileNotFoundError:
        return "another program"


def record_start(file: Path, step: int, options: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Write down what training starts with, whole or not at all; call it under the `lock`.

    At step 0 the record begins anew: whatever was started there before has left no checkpoint. A resumed run
    adds to it, with the options and versions that have changed since the start before. A run of an older
    version of this program, which has no record, gets one from there on.

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
        changed = changed_options(file, options, data) | _differences(before["versions"], versions)
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    record = {
        "options": dict(options),
        "data": dict(data),
        "versions": versions,
        "starts": [*(before["starts"] if before else []), {"time": now, "step": step, "changed": changed}],
    }
    with whole_or_nothing(file) as partial:
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
        f"{name} {_said(was)}, now {_said(now)}"
        for name, (was, now) in kept.items()
        if None not in (was, now)
    ]
    if broken:
        raise RunError(
            f"{file.parent} was started with {'; '.join(broken)}: "
            "resume with the old settings, or start anew in another folder"
        )
    return changed


def next_run(parent: Path = RUNS) -> Path:
    """Make the folder of a new run, ``runs/001`` and so on, and return it.

    Its number follows the highest one there is. Two programs that ask at the same time get two folders.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = max(_numbered(parent), default=0)
    while True:
        number += 1
        folder = parent / f"{number:03}"
        with suppress(FileExistsError):  # another program was faster
            folder.mkdir()
            return folder


def newest_run(parent: Path = RUNS) -> Path:
    """The run with the highest number, as `next_run` gives them.

    Raises:
        RunError: there is none.
    """
    runs = _numbered(parent)
    if not runs:
        raise RunError(f"no run in {parent.absolute()}: train one first, or name its folder")
    return runs[max(runs)]


def _numbered(parent: Path) -> dict[int, Path]:
    """The folders of runs by number; any other name is left alone."""
    name = re.compile(r"[0-9]{3}|[1-9][0-9]{3,}")
    return {int(path.name): path for path in parent.glob("*") if name.fullmatch(path.name) and path.is_dir()}


def read_record(file: Path) -> dict[str, Any] | None:
    """Read what `record_start` wrote of a run, or None where there is no such file.

    Raises:
        RunError: the file is damaged.
    """
    try:
        record = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # no text, or no JSON
        record = None
    match record:
        case {"options": dict(), "data": {"images": int()}, "versions": dict(), "starts": list()}:
            return dict(record)
    raise RunError(f"{file} is damaged: remove it, and the run goes on without a record of its settings")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{name: [before, now]} of all that differs between what JSON gave back and what it is to hold."""
    now = json.loads(json.dumps(now))  # a tuple has become a list
    names = [*before, *(name for name in now if name not in before)]
    pairs = {name: [before.get(name), now.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _said(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def _versions() -> dict[str, str]:
    from catdcgan.tf1 import GPUS, tf  # here, as it takes seconds and nothing else in this module needs it

    return {
        "catdcgan": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": "GPU" if GPUS else "CPU",
    }
