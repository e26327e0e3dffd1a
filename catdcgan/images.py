"""Pictures of what the generator makes: grids, strips, files, and the plot of the losses."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from catdcgan.errors import InputError
from catdcgan.files import atomic_write
from catdcgan.screen import in_notebook

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LONGEST_SIDES = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".gif": 65_535}  # in pixels
MOST_PIXELS = 178_956_970  # a picture with more is one that Pillow refuses to open


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
    columns, rows = grid_shape(count, columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    shape = (rows * height, columns * width) + ((channels,) if channels > 1 else ())
    return Image.fromarray(grid.reshape(shape)).convert(mode)


def grid_shape(count: int, columns: int | None = None) -> tuple[int, int]:
    """How many columns and rows a grid of so many pictures has, as `image_grid` lays it out."""
    columns = columns or math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def check_grid(path: str | os.PathLike[str], count: int, size: int, columns: int | None = None) -> None:
    """Refuse a grid that is too large for its file, before its pictures are drawn.

    Args:
        path: the file that it shall be written to.
        count: pictures in it.
        size: side of each, in pixels.
        columns: as in `image_grid`.

    Raises:
        InputError: a side is longer than the format holds, or the picture has more than `MOST_PIXELS`.
    """
    width, height = (number * size for number in grid_shape(count, columns))
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{path}: a grid of {width} x {height} pixels is too large, {MOST_PIXELS:,} pixels are the most: "
            "draw fewer, or single pictures into a folder"
        )
    check_sides(path, width, height)


def check_sides(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Refuse a picture of so many pixels that its format does not hold.

    Raises:
        InputError: a side is too long.
    """
    suffix = Path(path).suffix.lower()
    longest = LONGEST_SIDES.get(suffix, math.inf)
    if max(width, height) > longest:
        raise InputError(
            f"{path}: {width} x {height} pixels are too many for {suffix}, whose sides have {longest:,} at "
            "most: take .png, or make it smaller"
        )


def grid_cells(grid: Image.Image, size: int) -> np.ndarray:
    """Cut a full grid into its pictures, the reverse of `image_grid`: uint8 (n, size, size, channels)."""
    pixels = np.asarray(grid)
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    cells = pixels.reshape(rows, size, columns, size, -1).swapaxes(1, 2)
    return cells.reshape(rows * columns, size, size, -1)


def training_strip(
    samples: Sequence[str | os.PathLike[str]], size: int, rows: int = 5, columns: int = 8
) -> Image.Image:
    """Show what training made of the same latents: each has a row, and each moment a column.

    The first column is the first grid and the last the last. Those between lie ever further apart, since
    pictures change most at first. Above each is its step.

    Args:
        samples: files of sample grids, named ``step_STEP.png``, in order.
        size: side of a single picture in pixels.
        rows: how many latents, the first of each grid.
        columns: how many moments, at most.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("a strip needs at least one sample grid")
    moments = np.unique(np.geomspace(1, len(samples), columns).round().astype(int)) - 1
    files = [Path(samples[moment]) for moment in moments]
    grids = []
    for file in files:
        with Image.open(file) as grid:
            grids.append(grid_cells(grid.convert("RGB"), size)[:rows])
    cells = np.stack(grids, axis=1)  # (latents, moments, size, size, channels)
    pictures = image_grid(cells.reshape(-1, *cells.shape[2:]), columns=len(files))
    title = size // 5
    strip = Image.new("RGB", (pictures.width, title + pictures.height), "white")
    strip.paste(pictures, (0, title))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(0.7 * title)
    for column, file in enumerate(files):
        text = f"step {int(file.stem.removeprefix('step_')):,}"
        pen.text(((column + 0.5) * size, title / 2), text, "black", font, anchor="mm")
    return strip


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the format that the name ends in (.png, .jpg, ...), making its folder.

    Raises:
        ValueError: Pillow knows no format by that ending; or the picture is too large for it (InputError).
        OSError: the file cannot be written; what was there before stays.
    """
    check_sides(path, image.width, image.height)
    with atomic_write(path) as partial:
        image.save(partial, quality=95)  # PNG pays no heed to the quality


def show_image(image: Image.Image) -> None:
    """Show a picture: in a notebook below the cell, elsewhere in the system's picture viewer."""
    if in_notebook():
        from IPython.display import display

        display(image)
    else:
        image.show()


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
