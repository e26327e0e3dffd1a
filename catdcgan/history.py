"""The losses of a run: a line of JSON for each step in a file, so that they outlive the program."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HISTORY_NAME = "history.jsonl"


def read_history(file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the records {"step", "epoch", "d_loss", "g_loss"} of a run; steps and epochs count from 1.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not JSON.
    """
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def read_losses(file: str | os.PathLike[str]) -> list[tuple[float, float]]:
    """Read (d_loss, g_loss) of every step of a run; raises as `read_history` does."""
    return [(record["d_loss"], record["g_loss"]) for record in read_history(file)]


def rewind_history(file: Path, steps: int) -> None:
    """Keep the first `steps` records of a history, or start an empty one, making its folder.

    What is cut off are the steps that an interrupted run took after its last checkpoint: training takes
    them again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines(keepends=True) if steps and file.exists() else []
    partial = file.with_name(f".partial-{file.name}")
    partial.write_text("".join(lines[:steps]))
    partial.replace(file)
