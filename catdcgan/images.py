"""Pictures of generated images: grids, strips and picture files; and the plot of the losses."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catdcgan.errors import InputError
from catdcgan.files import atomic_write
from catdcgan.screen import in_notebook

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
LONGEST_SIDES = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".gif": 65_535}  # in pixels
LABEL_WIDTH, LABEL_HEIGHT = 128, 25  # pixels: room for a readable "step 143,000"
MOST_PIXELS = 178_956_970  # Pillow refuses to open a picture with more


def to_pixels(images: np.ndarray, pixel_range: float = 1.0) -> np.ndarray:
    """Convert floats in [-pixel_range, pixel_range] to uint8 from 0 to 255; values outside are clipped.

    The range is fixed, so that a colour means the same in every picture of a run. The article's author
    trained on [-0.5, 0.5]: use a `pixel_range` of 0.5 for his weights.
    """
    return np.clip(np.rint((images / pixel_range + 1) * 127.5), 0, 255).astype(np.uint8)


def image_grid(images: np.ndarray, mode: str = "RGB", columns: int | None = None) -> Image.Image:
    """Arrange images in rows, left to right and top to bottom.

    Args:
        images: uint8 (n, height, width, channels).
        mode: "RGB" or "L", the mode of the picture that is returned.
        columns: images in a row; by default the grid is as close to a square as possible.

    Returns:
        A picture of (columns * width) x (rows * height) pixels; cells without an image are black.

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
    """Number of columns and of rows in a grid of `count` images, as `image_grid` arranges it."""
    columns = columns or math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge an image, uint8 (h, w, channels), with Lanczos's filter: uint8 (factor * h, factor * w, 3)."""
    height, width, _ = image.shape
    size = (factor * width, factor * height)
    return np.asarray(image_grid(image[None]).resize(size, Image.Resampling.LANCZOS))


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Shrink uint8 images (n, s, s, c) by averaging over squares: float32 (n, side * side * c), 0 to 255."""
    box = Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(image.squeeze()).resize((side, side), box)) for image in images]
    return np.array(small, np.float32).reshape(len(images), -1)


def check_grid(path: str | os.PathLike[str], count: int, size: int, columns: int | None = None) -> None:
    """Refuse a grid that is too large for its file, before its images are generated.

    Args:
        path: the file to be written.
        count: images in the grid.
        size: side of an image in pixels.
        columns: as in `image_grid`.

    Raises:
        InputError: a side is longer than the format allows, or the grid has more than `MOST_PIXELS`.
    """
    width, height = (number * size for number in grid_shape(count, columns))
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{path}: a grid of {width} x {height} pixels is too large, {MOST_PIXELS:,} pixels are the most: "
            "draw fewer, or single pictures into a folder"
        )
    check_sides(path, width, height)


def check_sides(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Refuse a picture of `width` x `height` pixels if its file format does not allow such sides.

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
    """Cut a full grid into its images, the inverse of `image_grid`: uint8 (n, size, size, channels)."""
    pixels = np.asarray(grid)
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    cells = pixels.reshape(rows, size, columns, size, -1).swapaxes(1, 2)
    return cells.reshape(rows * columns, size, size, -1)


def training_strip(
    samples: Sequence[str | os.PathLike[str]], size: int, rows: int = 5, columns: int = 8
) -> Image.Image:
    """Show how the images of the same latents changed in training: a row per latent, a column per moment.

    The first column comes from the first grid and the last from the last. The intervals between columns grow,
    because images change most at first. The step is written above each column; small images are enlarged, so
    that it can be read.

    Args:
        samples: files of sample grids, named ``step_STEP.png``, in order.
        size: side of an image in the grids, in pixels.
        rows: number of latents, taken from the start of each grid.
        columns: number of moments, at most.

    Raises:
        ValueError: there are no samples.
        OSError: a sample cannot be read.
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
    factor = math.ceil(LABEL_WIDTH / size)
    images = [enlarge(image, factor) for image in cells.reshape(-1, *cells.shape[2:])]
    return label_columns(image_grid(np.stack(images), columns=len(files)), list(map(step_label, files)))


def step_label(sample: str | os.PathLike[str]) -> str:
    """The step of a sample grid's file ``step_STEP.png``, for people."""
    return f"step {int(Path(sample).stem.removeprefix('step_')):,}"


def label_columns(picture: Image.Image, labels: Sequence[str]) -> Image.Image:
    """Write a label above each of a picture's equally wide columns, in mode "RGB"."""
    column = picture.width / len(labels)
    labelled = Image.new("RGB", (picture.width, LABEL_HEIGHT + picture.height), "white")
    labelled.paste(picture, (0, LABEL_HEIGHT))
    pen, font = ImageDraw.Draw(labelled), ImageFont.load_default(0.7 * LABEL_HEIGHT)
    for number, label in enumerate(labels):
        pen.text(((number + 0.5) * column, LABEL_HEIGHT / 2), label, "black", font, anchor="mm")
    return labelled


def save_image(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture in the format of the name's suffix (.png, .jpg, ...), creating its folder if needed.

    Raises:
        ValueError: Pillow knows no format with that suffix.
        InputError: the picture is too large for the format.
        OSError: the file cannot be written; an existing file is kept.
    """
    check_sides(path, image.width, image.height)
    with atomic_write(path) as partial:
        image.save(partial, quality=95)  # PNG ignores the quality


def show_image(image: Image.Image, alt: str = "A grid of generated images") -> None:
    """Show a picture: below the cell in a notebook, in the system's picture viewer elsewhere.

    Args:
        image: the picture.
        alt: what it shows, in words, for readers of the notebook who cannot see it.
    """
    if in_notebook():
        from IPython.display import display

        display(image, metadata={kind: {"alt": alt} for kind in ("image/png", "image/jpeg")})
    else:
        image.show()


def plot_losses(losses: Iterable[tuple[float, float]]) -> Figure:
    """Plot (d_loss, g_loss) of each step, in nats, with their moving averages and their equilibrium.

    At equilibrium the discriminator outputs 1/2 for every image: its loss is 2 ln 2 = 1.386 and the
    generator's is ln 2 = 0.693 (without label smoothing; Goodfellow et al. 2014, arXiv:1406.2661).

    Raises:
        ValueError: there are no losses.
    """
    values = np.array(list(losses), float).reshape(-1, 2)
    if not len(values):
        raise ValueError("no losses to plot")
    steps = np.arange(1, len(values) + 1)
    window = max(1, len(values) // 50)
    from matplotlib.figure import Figure  # here, so that what plots nothing need not load it

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
