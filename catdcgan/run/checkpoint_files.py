"""The checkpoint files in a folder: listing them, finding the newest, and cleaning up after a kill."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from catdcgan.errors import CheckpointError, DamagedError
from catdcgan.files import PARTIAL, atomic_write, remove_partial

NAME = "model.ckpt"
INCLUDED = Path("models", NAME)  # the included model, in the root of the repository
REPOSITORY = Path(__file__).parents[2]  # unless only the package is installed
ENDINGS = (".data-00000-of-00001", ".index")  # TensorFlow finds a checkpoint by its index, so that comes last
NEW = ".new-"  # prefix of a folder whose checkpoint is about to replace another
DAMAGED = "damaged-"  # prefix of a checkpoint that was found damaged and set aside


def replacement_of(path: str | os.PathLike[str]) -> Path:
    """The folder of a whole checkpoint that is about to replace the one at `path`."""
    return Path(path).with_name(f"{NEW}{Path(path).name}")


def finish_replacement(path: Path) -> None:
    """Copy a checkpoint from its replacement folder, if there is one, to its place; remove the folder.

    If the checkpoint in the folder is not whole, it is dropped with a warning.
    """
    folder = replacement_of(path)
    if not folder.exists():
        return
    if absent_files(folder / NAME):
        warnings.warn(f"{folder} holds no whole checkpoint: it is removed, and {path} stays", stacklevel=2)
    else:
        for ending in ENDINGS:
            with atomic_write(f"{path}{ending}") as partial:
                shutil.copyfile(folder / f"{NAME}{ending}", partial)
                to_disk(partial)
    with TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as temporary:
        os.replace(folder, Path(temporary, NAME))  # removed in one rename: no half of it is ever read


def to_disk(file: Path) -> None:
    """Wait until a file is on disk, so that a power cut cannot leave an empty file under a valid name."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


def tidy(folder: Path) -> None:
    """Complete or remove what a killed program left unfinished in a folder of checkpoints."""
    for new in folder.glob(f"{NEW}*"):
        finish_replacement(folder / new.name.removeprefix(NEW))
    remove_partial(folder)
    for file in folder.glob(f"{NAME}-*{ENDINGS[0]}"):
        if not file.with_name(file.name.removesuffix(ENDINGS[0]) + ENDINGS[1]).exists():
            file.unlink()


def numbered(folder: Path) -> list[Path]:
    """The checkpoints ``model.ckpt-STEP`` in a folder, oldest step first."""
    names = (re.fullmatch(rf"{re.escape(NAME)}-(\d+)\.index", file.name) for file in folder.glob(f"{NAME}-*"))
    paths = [folder / f"{NAME}-{step}" for step in sorted(int(name[1]) for name in names if name)]
    return [path for path in paths if Path(f"{path}{ENDINGS[-1]}").is_file()]


def last_step(folder: Path) -> int:
    """The step of the newest numbered checkpoint in a folder; -1 if there is none."""
    return max((int(path.name.rpartition("-")[2]) for path in numbered(folder)), default=-1)


def latest(folder: Path) -> Path | None:
    """The checkpoint to continue from: the highest step, else ``model.ckpt``, else None."""
    if steps := numbered(folder):
        return steps[-1]
    return folder / NAME if (folder / f"{NAME}.index").exists() else None


def find_start(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to continue from, or None for a new run.

    Raises:
        CheckpointError: the folder holds a run and `resume` is False, or it holds none and `resume` is True.
    """
    start = latest(folder)
    if start and not resume:
        raise CheckpointError(
            f"{folder} already holds a trained model ({start.name}): resume it, or choose another folder"
        )
    if resume and not start:
        raise CheckpointError(f"nothing to resume: no {NAME} in {folder.absolute()}")
    return start


def remove_old(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` numbered checkpoints."""
    for path in numbered(folder)[: -keep or None]:
        for ending in reversed(ENDINGS):  # the index first: half a checkpoint is never found
            Path(f"{path}{ending}").unlink(missing_ok=True)


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """The checkpoint that a path means: itself, the one this file belongs to, or the one in this folder.

    Where there is no folder ``models``, `INCLUDED` is the one in the repository that the package runs from.
    """
    path = Path(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", os.fspath(path)))
    if path == INCLUDED and not path.parent.exists():
        path = REPOSITORY / path
    if not path.is_dir() or Path(f"{path}{ENDINGS[-1]}").exists():
        return path
    models = path / "models"
    return (models if models.is_dir() else path) / NAME


def existing_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Find the checkpoint that a path means, or the whole one that is about to replace it.

    Raises:
        CheckpointError: there is none; the message names those that exist.
        DamagedError: one of its files is missing.
    """
    path = find_checkpoint(path)
    if path == REPOSITORY / INCLUDED and absent_files(path):
        raise CheckpointError(
            f"no {INCLUDED} in {Path.cwd()}: the included model is part of the repository, and only the "
            "package is installed. Clone the repository and run this in its folder, or name another model"
        )
    replacement = replacement_of(path) / NAME
    source = path if absent_files(replacement) else replacement
    if absent := absent_files(source):
        others = sorted(file.stem for file in path.parent.glob("*.index"))
        kind = CheckpointError if ENDINGS[-1] in absent else DamagedError
        raise kind(
            f"no checkpoint {path}: expected the file {path}{absent[0]}, "
            f"found {abridged_names(others) if others else 'no checkpoint'} in {path.parent.absolute()}"
        )
    return source


def absent_files(path: str | os.PathLike[str]) -> list[str]:
    """The suffixes of a checkpoint's missing files."""
    return [ending for ending in ENDINGS if not os.path.isfile(f"{os.fspath(path)}{ending}")]


def abridged_names(names: Iterable[str]) -> str:
    """The first four names, and how many there are in total if there are more."""
    names = sorted(names)
    return ", ".join(names[:4]) + (f" ... ({len(names)} in all)" if len(names) > 4 else "")
