"""The folder of a run: its number, where each file lies in it, and the lock that keeps other trainers out."""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from filelock import FileLock, SoftFileLock, Timeout

from catdcgan.errors import RunError, TrainingError
from catdcgan.files import atomic_write, refuse_pipes

RUNS = Path("runs")  # where the numbered runs are
RUN_NAME = "run.json"
HISTORY_NAME = "history.jsonl"
SAMPLE_COUNT = 25  # pictures in a sample grid: five by five, small enough to be looked at often
# It stays when the lock is gone: removing it while another program is about to lock it would let two in. Who
# holds it stands in a file of its own, as Windows lets no other program read a locked one.
LOCK_NAME, HOLDER_NAME = ".lock", ".lock-holder"


class RunFolder(NamedTuple):
    """Where the files of a run are. `train` lets each of the three folders be anywhere."""

    models: Path  # checkpoints, and the lock
    images: Path  # sample grids
    log: Path  # run.json, the history and event files

    @property
    def record(self) -> Path:
        """The file of settings, data and starts."""
        return self.log / RUN_NAME

    @property
    def history(self) -> Path:
        """The file with a line for each step."""
        return self.log / HISTORY_NAME

    def grid(self, step: int) -> Path:
        """The file of a step's sample grid."""
        return self.images / f"step_{step:07d}.png"

    def grids(self, step: float = math.inf) -> list[Path]:
        """The sample grids that there are, up to a step, by step. A file of another name is none of them."""
        names = (re.fullmatch(r"step_(\d{7,})\.png", file.name) for file in self.images.glob("step_*.png"))
        steps = sorted({int(name[1]) for name in names if name})
        return [self.grid(number) for number in steps if number <= step and self.grid(number).is_file()]

    def refuse_if_moved(self, open_history: TextIO) -> None:
        """Notice that the folder is no longer where it was; the open history moved with it.

        Raises:
            TrainingError: it was moved or removed.
        """
        history = self.history
        there = history.exists() and os.path.samestat(history.stat(), os.fstat(open_history.fileno()))
        if not there or not self.models.is_dir():
            gone = next((path for path in (self.log, self.models) if not path.is_dir()), history)
            raise TrainingError(
                f"{gone} was moved or removed while training ran. If it was moved, resume where it is now"
            )


def folder_of(out: Path) -> RunFolder:
    """The layout of a run's folder that the command line makes."""
    return RunFolder(out / "models", out / "images", out)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other trainer out of a folder inside the block, making the folder if need be.

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
        with atomic_write(folder / HOLDER_NAME) as partial:
            partial.write_text(f"process {os.getpid()} (on {socket.gethostname()})", "utf-8")
        yield


def _holder(folder: Path) -> str:
    """Who trains in the folder; it may have begun so lately that it has not written this yet."""
    try:
        refuse_pipes(folder / HOLDER_NAME)
        return (folder / HOLDER_NAME).read_text("utf-8") or "another program"
    except (OSError, ValueError):  # not there, or foreign
        return "another program"


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
