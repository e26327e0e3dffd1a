"""Pictures that summarize a run: a plot of its losses, a strip and an animation of its sample grids."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from catdcgan.animation import save_animation
from catdcgan.files import atomic_write
from catdcgan.images import grid_shape, plot_losses, save_image, training_strip
from catdcgan.run.folder import SAMPLE_COUNT, RunFolder
from catdcgan.run.history import read_losses

ANIMATION_FRAMES = 100  # at most; more make the file large and the animation long


def summarize(folder: RunFolder, size: int) -> None:
    """Plot the losses of a run so far, and make an animation and a strip of its sample grids.

    The model is saved by then, so nothing here is an error: a warning says what is missing and why.

    Args:
        folder: of the run.
        size: side of an image in pixels.
    """
    shape = [number * size for number in grid_shape(SAMPLE_COUNT)]
    grids = folder.grids()
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
        frames = samples[:: 1 + len(samples) // ANIMATION_FRAMES]
        attempt(lambda: save_animation(frames, folder.images / "training.gif"))
    if troubles:
        reasons = "; ".join(dict.fromkeys(troubles))
        warnings.warn(
            f"the run is saved, but its summary in {folder.images} is incomplete: {reasons}", stacklevel=2
        )


def _is_grid(file: Path, width: int, height: int) -> bool:
    """Whether a file is a complete PNG of this size in pixels."""
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            picture.verify()
            return picture.size == (width, height)
    except Exception:  # Pillow raises almost anything for a damaged file
        return False
