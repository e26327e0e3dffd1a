"""Pictures that summarize a run: a plot of its losses, a strip and an animation of its sample grids."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from catdcgan.animation import save_animation
from catdcgan.files import atomic_write
from catdcgan.images import grid_shape, label_columns, plot_losses, save_image, step_label, training_strip
from catdcgan.run.checkpoint_files import last_step
from catdcgan.run.folder import SAMPLE_COUNT, RunFolder
from catdcgan.run.history import read_losses

ANIMATION_FRAMES = 100  # at most; more make the file large and the animation long
FRAME_MILLISECONDS, LAST_MILLISECONDS = 100, 2000  # the result stays in sight before it starts again


def summarize(folder: RunFolder, size: int) -> None:
    """Plot the losses of a run so far, and make an animation and a strip of its sample grids.

    The model is saved by then, so nothing here is an error: a warning says what is missing and why.

    Args:
        folder: of the run.
        size: side of an image in pixels.
    """
    shape = [number * size for number in grid_shape(SAMPLE_COUNT)]
    last = last_step(folder.models)  # later grids are of a start that was killed before it saved
    grids = folder.grids(last if last >= 0 else None)
    samples = [grid for grid in grids if _is_grid(grid, *shape)]
    foreign = sorted({*grids} - {*samples})
    troubles = (
        [f"{len(foreign)} files are not whole sample grids, such as {foreign[0].name}"] if foreign else []
    )

    def attempt(draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:  # Pillow, Matplotlib and the system raise too many kinds to list
            troubles.append(f"{error}" or type(error).__name__)

    def draw_losses() -> None:
        if losses := read_losses(folder.history):
            with atomic_write(folder.images / "losses.png") as file:
                plot_losses(losses).savefig(file)

    attempt(draw_losses)
    if samples:
        attempt(lambda: save_image(training_strip(samples, size), folder.images / "training.png"))
        gif = folder.images / "training.gif"
        attempt(lambda: save_animation(_frames(samples), gif, FRAME_MILLISECONDS, LAST_MILLISECONDS))
    if troubles:
        reasons = "; ".join(dict.fromkeys(troubles))
        warnings.warn(
            f"the run is saved, but its summary in {folder.images} is incomplete: {reasons}", stacklevel=2
        )


def _frames(samples: list[Path]) -> Iterator[Image.Image]:
    """The frames of the animation: grids at equal distances, the first and the last among them."""
    count = min(len(samples), ANIMATION_FRAMES)
    for number in np.linspace(0, len(samples) - 1, count).round().astype(int):
        with Image.open(samples[number]) as grid:
            yield label_columns(grid, [step_label(samples[number])])


def _is_grid(file: Path, width: int, height: int) -> bool:
    """Whether a file is a complete PNG of this size in pixels."""
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            picture.verify()
            return picture.size == (width, height)
    except Exception:  # Pillow raises almost anything for a damaged file
        return False
