"""Pictures of what the generator makes: grids, files, an animation, and the plot of the losses."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

ANIMATION_SUFFIXES = (".gif", ".webp", ".png")


def to_pixels(images: np.ndarray, pixel_range: float = 1.0) -> np.ndarray:
    """From floats in [-pixel_range, pixel_range] to uint8; values outside are clipped.

    The range is fixed, so that a colour means the same in every picture of a run. The article's author
    trained on [-0.5, 0.5]: for his weights, `pixel_range` is 0.5.
    """
    return np.clip(np.rint((images / pixel_range + 1) * 127.5), 0, 255).astype(np.uint8)


def image_grid(images: np.ndarray, mode: str = "RGB", columns: int | None = None) -> Image.Image:
    """Lay images out in rows, left to right and top to bottom.

    Args:
        images: uint8 (n, height, width, channels).
        mode: "RGB" or "L", the mode of the picture that is returned.
        columns: pictures in a row; by itself as near to a square as it gets.

    Returns:
        A picture of (columns * width) x (rows * height) pixels; places without an image stay black.

    Raises:
        ValueError: the images are not uint8 (see `to_pixels`), or there are none.
    """
    if images.dtype != np.uint8 or not len(images):
        raise ValueError(f"a grid needs at least one image in uint8, not {images.dtype} {images.shape}")
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    shape = (rows * height, columns * width) + ((channels,) if channels > 1 else ())
    return Image.fromarray(grid.reshape(shape)).convert(mode)


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the format that the name ends in (.png, .jpg, ...), making its folder.

    Raises:
        ValueError: Pillow knows no format by that ending.
        OSError: the file cannot be written; what was there before stays.
    """
    with _whole_or_nothing(path) as partial:
        image.save(partial, quality=95)  # PNG pays no heed to the quality


def show_image(image: Image.Image) -> None:
    """Show a picture: in a notebook below the cell, elsewhere in the system's picture viewer."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(image)
    else:
        image.show()


def save_animation(
    files: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], milliseconds: int = 100
) -> None:
    """Join pictures of one size into an endless animation; each is shown for some milliseconds.

    Raises:
        ValueError: no pictures, or the name does not end in .gif, .webp or .png.
        OSError: a picture cannot be read, or the animation not written; what was there before stays.
    """
    if not files:
        raise ValueError("an animation needs at least one picture")
    if Path(path).suffix.lower() not in ANIMATION_SUFFIXES:
        raise ValueError(f"{path}: the name of an animation ends in {', '.join(ANIMATION_SUFFIXES)}")
    first, *others = (Image.open(file).convert("RGB") for file in files)
    with _whole_or_nothing(path) as partial:
        first.save(partial, save_all=True, append_images=others, duration=milliseconds, loop=0)


def plot_losses(losses: Iterable[tuple[float, float]]) -> Figure:
    """Plot (d_loss, g_loss) of each step, smoothed, with the values of a game that neither side wins.

    There the discriminator says 1/2 to everything: its loss is 2 ln 2 = 1.386 and the generator's
    ln 2 = 0.693 (without label smoothing; Goodfellow et al. 2014, arXiv:1406.2661).

    Raises:
        ValueError: there are no losses.
    """
    values = np.array(list(losses), float).reshape(-1, 2)
    if not len(values):
        raise ValueError("no losses to plot")
    steps = np.arange(1, len(values) + 1)
    window = max(1, len(values) // 50)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for column, (name, colour, equilibrium) in enumerate(
        (("discriminator", "tab:blue", 2 * math.log(2)), ("generator", "tab:orange", math.log(2)))
    ):
        smooth = np.convolve(values[:, column], np.ones(window) / window, mode="valid")
        axes.plot(steps, values[:, column], colour, alpha=0.25, linewidth=0.5)
        axes.plot(steps[window - 1 :], smooth, colour, label=name)
        axes.axhline(equilibrium, color=colour, linestyle="--", label=f"{name} at equilibrium")
    axes.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
    axes.legend()
    return figure


@contextmanager
def _whole_or_nothing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name to write to, and rename it to `path` if nothing went wrong."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
