"""A run's folder: its number, the place of each file in it, and the lock against other training programs."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from filelock import FileLock, Timeout

from catdcgan.errors import RunError, TrainingError
from catdcgan.files import atomic_write, refuse_special

RUNS = Path("runs")  # where the numbered runs are
RUN_NAME = "run.json"
HISTORY_NAME = "history.jsonl"
SAMPLE_COUNT = 25  # images in a sample grid: five by five, small enough to look at often
# The lock's file stays after the lock is released: removing it while another program is about to lock it
# would let two in. A separate file names the holder, because Windows lets no other program read a locked one.
LOCK_NAME, HOLDER_NAME = ".lock", ".lock-holder"


class RunFolder(NamedTuple):
    """Where the files of a run are. `train` accepts any three folders."""

    models: Path  # checkpoints, and the lock
    images: Path  # sample grids
    log: Path  # run.json, the history and event files

    @property
    def record(self) -> Path:
        """The file with settings, data and starts."""
        return self.log / RUN_NAME

    @property
    def history(self) -> Path:
        """The file with a line for each step."""
        return self.log / HISTORY_NAME

    def grid(self, step: int) -> Path:
        """The file of a step's sample grid."""
        return self.images / f"step_{step:07d}.png"

    def grids(self, step: int | None = None) -> list[Path]:
        """The existing sample grids by step, those up to a step if one is given. Other names don't count."""
        names = (re.fullmatch(r"step_(\d{7,})\.png", file.name) for file in self.images.glob("step_*.png"))
        steps = sorted({int(name[1]) for name in names if name})
        files = [self.grid(number) for number in steps if step is None or number <= step]
        return [file for file in files if file.is_file()]

    def refuse_if_moved(self, open_history: TextIO) -> None:
        """Check that the folder is where it was: if it was moved, the open history moved with it.

        Raises:
            TrainingError: it was moved or removed.
        """
        history = self.history
        in_place = history.exists() and os.path.samestat(history.stat(), os.fstat(open_history.fileno()))
        if not in_place or not self.models.is_dir():
            gone = next((path for path in (self.log, self.models) if not path.is_dir()), history)
            raise TrainingError(
                f"{gone} was moved or removed while training ran. If it was moved, resume where it is now"
            )


def folder_of(out: Path) -> RunFolder:
    """The layout of a run's folder as the command line creates it."""
    return RunFolder(out / "models", out / "images", out)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder against other training programs inside the block, creating the folder if needed.

    The operating system releases the lock when the process ends, however it ends: nothing is left to clean up
    after ``kill -9`` or a reboot. On a file system without such locks, a file that names the process is used
    instead; one left behind by a dead process on this computer is taken over.

    Raises:
        RunError: another program, or this one, already trains there; or the folder cannot be locked.
        OSError: the folder cannot be created or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    guard = FileLock(folder / LOCK_NAME)
    try:
        held = guard.acquire(timeout=0.2)  # long enough for two tries: the first may only remove a dead lock
    except Timeout:
        remedy = "wait for it, stop it, or choose another folder"
        with suppress(OSError):  # released since
            if os.path.getsize(guard.lock_file):  # it names its process: the drive has no locks
                remedy += f"; if it died on another computer, remove {guard.lock_file}"
        raise RunError(f"{folder} is in use by {_holder(folder)}: {remedy}") from None
    except OSError as error:  # such as "no locks available" on a network drive
        raise RunError(f"{folder} cannot be locked ({error}): choose another folder") from error
    with held:
        with atomic_write(folder / HOLDER_NAME) as partial:
            partial.write_text(f"process {os.getpid()} (on {socket.gethostname()})", "utf-8")
        yield


def _holder(folder: Path) -> str:
    """Who trains in the folder. A program that has only just taken the lock may not have written this yet."""
    try:
        refuse_special(folder / HOLDER_NAME)
        return (folder / HOLDER_NAME).read_text("utf-8") or "another program"
    except (OSError, ValueError):  # not there, or foreign
        return "another program"


def next_run(parent: Path = RUNS) -> Path:
    """Create the folder of a new run, ``runs/001`` and so on, and return it.

    Its number follows the highest existing one. Two programs that ask at the same time get different folders.

    Raises:
        OSError: the folder cannot be created.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = max(_runs_by_number(parent), default=0)
    while True:
        number += 1
        folder = parent / f"{number:03}"
        with suppress(FileExistsError):  # another program was faster
            folder.mkdir()
            return folder


def newest_run(parent: Path = RUNS) -> Path:
    """The run with the highest number, as numbered by `next_run`, of those that have saved something.

    Raises:
        RunError: there is none.
    """
    runs = _runs_by_number(parent)
    if not runs:
        raise RunError(f"no run in {parent.absolute()}: train one first, or name its folder")
    begun = {number: run for number, run in runs.items() if any(folder_of(run).models.glob("*.index"))}
    runs = begun or runs  # without any, the newest gives an error that says what is missing
    return runs[max(runs)]


def _runs_by_number(parent: Path) -> dict[int, Path]:
    """The folders of runs by number; other names are ignored."""
    name = re.compile(r"[0-9]{3}|[1-9][0-9]{3,}")
    return {int(path.name): path for path in parent.glob("*") if name.fullmatch(path.name) and path.is_dir()}
