"""The history of a run: a file with a line of JSON for each step, which outlives the program."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catdcgan.errors import TrainingError
from catdcgan.files import parse_json, refuse_special
from catdcgan.settings import PROBABILITY

# The keys of a step's record, and the names that TensorBoard shows for some of them.
COLUMNS = (
    *("step", "epoch", "d_loss", "g_loss", "d_real", "d_fake", "d_held_out"),
    *(PROBABILITY, "images_per_second"),
)
TAGS = {"d_loss": "loss/discriminator", "g_loss": "loss/generator"}
TAGS |= {"d_real": "D says/of real", "d_fake": "D says/of generated", "d_held_out": "D says/of held out"}


def read_history(file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records of a run, one for each step.

    Returns:
        Records with the keys "step" and "epoch" (both count from 1), "d_loss" and "g_loss" (nats), "d_real"
        and "d_fake" (the discriminator's mean output, a probability, on the real and the generated images),
        and "images_per_second". Runs of older versions lack the last three. With held-out images, the steps
        of sample grids also have "d_held_out", the discriminator's mean output on these; with a target for
        augmentation, all steps have "augment_probability". Lines that are not such records are left out,
        with a warning.

    Raises:
        InputError: the file is a named pipe or a device.
        OSError: the file cannot be read.
    """
    refuse_special(Path(file))
    records = [_record(line) for line in Path(file).read_bytes().splitlines()]
    if foreign := records.count(None):
        warnings.warn(f"{file}: left out {foreign} lines that are not records of steps", stacklevel=2)
    return [record for record in records if record]


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a step that a line holds; None if it holds anything else."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    match record:
        case {"step": int(), "d_loss": int() | float(), "g_loss": int() | float()}:
            return dict(record)
    return None


def read_losses(file: str | os.PathLike[str]) -> list[tuple[float, float]]:
    """Read (d_loss, g_loss), in nats, of every step of a run; raises like `read_history`."""
    return [(record["d_loss"], record["g_loss"]) for record in read_history(file)]


def rewind_history(file: Path, step: int) -> None:
    """Remove the records after a step, or create an empty history and its folder.

    An interrupted run took these steps after its last checkpoint, and training takes them again. A
    half-written line is removed too. If earlier steps are missing, a warning says so. Lines that are not
    records are skipped.

    Raises:
        InputError: the file is a named pipe or a device.
        OSError: the file cannot be read or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    refuse_special(file)
    kept_steps, kept_bytes, read_bytes = 0, 0, 0
    with file.open("a+b") as lines:
        lines.seek(0)
        for line in lines:
            read_bytes += len(line)
            record = _record(line)
            if not record:
                continue
            if record["step"] > step or not line.endswith(b"\n"):
                break
            kept_steps, kept_bytes = kept_steps + 1, read_bytes
        lines.truncate(kept_bytes)
    if kept_steps < step:
        warnings.warn(f"{file} holds {kept_steps} of the run's {step} steps: the rest is lost", stacklevel=2)


def checked_figures(step: int, figures: Any) -> dict[str, float]:
    """Convert what the user's `evaluate` returns to numbers that JSON can hold.

    Args:
        step: named in errors.
        figures: real numbers by name: Python's, NumPy's, or 0-d arrays of any library.

    Raises:
        TrainingError: it is not such a mapping, or a name is one of the history's own.
    """
    prefix = f"in step {step} evaluate gave"
    if not isinstance(figures, Mapping):
        raise TrainingError(
            f"{prefix} {type(figures).__name__}: it must return figures by name, such as a dict"
        )
    checked = {}
    for name, figure in figures.items():
        if not isinstance(name, str):
            raise TrainingError(f"{prefix} a figure named {name!r}: names must be strings")
        if name in (*COLUMNS, *TAGS.values()):
            raise TrainingError(
                f'{prefix} a figure "{name}", which the history uses itself: choose another name'
            )
        number = _real(figure)
        if number is None:
            kind = type(figure).__name__
            raise TrainingError(f'{prefix} "{name}" as {kind}, which is not a real number: return a float')
        checked[name] = number
    return checked


def _real(figure: Any) -> float | None:
    """Convert a real number to Python's float; None if it is not a real number."""
    if hasattr(figure, "__array__"):
        array = np.asarray(figure)
        return float(array) if array.ndim == 0 and array.dtype.kind in "biuf" else None
    return float(figure) if isinstance(figure, numbers.Real) else None


def tagged(record: Mapping[str, float]) -> dict[str, float]:
    """A step's numbers, under the names that TensorBoard groups."""
    return {TAGS.get(name, name): value for name, value in record.items() if name not in ("step", "epoch")}
