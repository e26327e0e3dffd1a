"""The history of a run: a line of JSON for each step in a file, so that it outlives the program."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catdcgan.errors import TrainingError
from catdcgan.files import parse_json, refuse_pipes

# What a record holds of each step, and the names under which TensorBoard gets some of it.
COLUMNS = ("step", "epoch", "d_loss", "g_loss", "d_real", "d_fake", "images_per_second")
TAGS = {"d_loss": "loss/discriminator", "g_loss": "loss/generator"}
TAGS |= {"d_real": "D says/of real", "d_fake": "D says/of generated"}


def read_history(file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records of a run, one for each step.

    Returns:
        Records with the keys "step" and "epoch" (both count from 1), "d_loss" and "g_loss" (nats), "d_real"
        and "d_fake" (the discriminator's mean output, a probability, on the real and the generated images),
        and "images_per_second". Runs of older versions lack the last three. What is no such record is left
        out, with a warning.

    Raises:
        InputError: the file is a named pipe.
        OSError: the file cannot be read.
    """
    refuse_pipes(Path(file))
    records = [_record(line) for line in Path(file).read_bytes().splitlines()]
    if foreign := records.count(None):
        warnings.warn(f"{file}: left out what is no record of a step, lines: {foreign}", stacklevel=2)
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
    """Read (d_loss, g_loss) of every step of a run; raises as `read_history` does."""
    return [(record["d_loss"], record["g_loss"]) for record in read_history(file)]


def rewind_history(file: Path, step: int) -> None:
    """Cut off what comes after a step, or start an empty history, making its folder.

    What is cut off are the steps that an interrupted run took after its last checkpoint: training takes
    them again. A line that was half-written goes with them. If earlier steps are missing, a warning says so.
    A line that is no record is passed over.

    Raises:
        InputError: the file is a named pipe.
        OSError: the file cannot be read or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    refuse_pipes(file)
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
    """Turn what the user's `evaluate` gives for the record of a step into numbers that JSON can hold.

    Args:
        step: to name in an error.
        figures: real numbers by name: Python's, NumPy's, or 0-d arrays of any library.

    Raises:
        TrainingError: it is no such mapping, or a name is one of the history's own.
    """
    said = f"in step {step} evaluate gave"
    if not isinstance(figures, Mapping):
        raise TrainingError(f"{said} {type(figures).__name__}: let it give figures by name, such as a dict")
    checked = {}
    for name, figure in figures.items():
        if not isinstance(name, str):
            raise TrainingError(f"{said} a figure named {name!r}: let its name be text")
        if name in (*COLUMNS, *TAGS.values()):
            raise TrainingError(f'{said} a figure "{name}", a name of the history itself: choose another')
        number = _real(figure)
        if number is None:
            kind = type(figure).__name__
            raise TrainingError(f'{said} "{name}" as {kind}, which is no real number: let it give a float')
        checked[name] = number
    return checked


def _real(figure: Any) -> float | None:
    """A real number as Python's float, or None if it is none."""
    if hasattr(figure, "__array__"):
        array = np.asarray(figure)
        return float(array) if array.ndim == 0 and array.dtype.kind in "biuf" else None
    return float(figure) if isinstance(figure, numbers.Real) else None


def tagged(record: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a step under the names that TensorBoard groups by."""
    return {TAGS.get(name, name): value for name, value in record.items() if name not in ("step", "epoch")}
