"""The history of a run: a line of JSON for each step in a file, so that it outlives the program."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

HISTORY_NAME = "history.jsonl"


def read_history(file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records of a run, one for each step.

    Returns:
        Records with the keys "step" and "epoch" (both count from 1), "d_loss" and "g_loss" (nats), "d_real"
        and "d_fake" (the discriminator's mean output, a probability, on the real and the generated images),
        and "images_per_second". Runs of older versions lack the last three.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not JSON.
    """
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def read_losses(file: str | os.PathLike[str]) -> list[tuple[float, float]]:
    """Read (d_loss, g_loss) of every step of a run; raises as `read_history` does."""
    return [(record["d_loss"], record["g_loss"]) for record in read_history(file)]


def rewind_history(file: Path, step: int) -> None:
    """Cut off what comes after a step, or start an empty history, making its folder.

    What is cut off are the steps that an interrupted run took after its last checkpoint: training takes
    them again. A line that was half-written goes with them. If earlier steps are missing, a warning says so.

    Raises:
        OSError: the file cannot be read or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    kept_steps, kept_bytes = 0, 0
    with file.open("a+b") as lines:
        lines.seek(0)
        for line in lines:
            try:
                recorded = json.loads(line)["step"]
            except ValueError:
                break
            if recorded > step or not line.endswith(b"\n"):
                break
            kept_steps, kept_bytes = kept_steps + 1, kept_bytes + len(line)
        lines.truncate(kept_bytes)
    if kept_steps < step:
        warnings.warn(f"{file} holds {kept_steps} of the run's {step} steps: the rest is lost", stacklevel=2)
