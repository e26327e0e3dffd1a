"""A folder of images in memory, and the batches that training takes from it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
IMAGE_MODES = {"RGB": 3, "L": 1}  # Pillow's name of the mode -> channels
GRAY = (128, 128, 128, 255)

# What Pillow raises for a file that it cannot read; SyntaxError is its word for a broken PNG chunk.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class DataError(ValueError):
    """The images cannot be used; the message names the folder or file and the remedy."""


class Dataset:
    """Square images of one size, kept in memory as uint8.

    Attributes:
        images: uint8 array (n, size, size, channels).
        image_mode: "RGB" (3 channels) or "L" (grayscale, 1 channel).
        seed: with an epoch's number, decides the order of that epoch.
        skipped: (path, reason) of each file that could not be read.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        size: int = 128,
        mode: str = "RGB",
        seed: int = 0,
    ) -> None:
        """Read images from a folder (and the folders in it) or from a list of files.

        Each picture is turned as its EXIF rotation says, cut to its centre square and resized to `size`.
        A file that cannot be read is skipped, and named in one warning.

        Raises:
            DataError: no such folder, no image in it, or none that can be read.
            ValueError: `mode` is neither "RGB" nor "L", or `size` is below 1.
        """
        _check_mode(mode)
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, not {size}")
        if isinstance(source, str | os.PathLike):
            where, files = str(source), find_images(source)
        else:
            where, files = "the list of files", [Path(file) for file in source]
        if not files:
            raise DataError(f"no images in {where}: expected files ending in {', '.join(IMAGE_SUFFIXES)}")

        def read(file: Path) -> np.ndarray | str:
            try:
                return load_image(file, size, mode)
            except UNREADABLE as error:
                return str(error)

        # Pillow lets go of the interpreter lock while it decodes and resizes, so threads use all cores.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            bar = tqdm(pool.map(read, files), "reading images", len(files), unit="image", delay=2)
            results = list(bar)
        images = [image for image in results if isinstance(image, np.ndarray)]
        skipped = [
            (file, result) for file, result in zip(files, results, strict=True) if isinstance(result, str)
        ]
        if not images:
            raise DataError(f"none of the {len(files)} images in {where} can be read; {_listing(skipped)}")
        if skipped:
            warnings.warn(f"skipped {_listing(skipped)}", stacklevel=2)
        self.images = np.stack(images)
        self.image_mode = mode
        self.seed = seed
        self.skipped = skipped
        self._next_epoch = 0

    @classmethod
    def from_array(cls, images: np.ndarray, seed: int = 0) -> Dataset:
        """Make a dataset of images that are in memory already: uint8 (n, height, width, 3 or 1).

        Raises:
            DataError: the array has another type or shape, or is empty.
        """
        modes = {channels: mode for mode, channels in IMAGE_MODES.items()}
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in modes or not len(images):
            raise DataError(
                f"expected uint8 images (n, height, width, 3 or 1), got {images.dtype} {images.shape}"
            )
        dataset = cls.__new__(cls)
        dataset.images = images
        dataset.image_mode = modes[images.shape[-1]]
        dataset.seed = seed
        dataset.skipped = []
        dataset._next_epoch = 0
        return dataset

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, channels)."""
        count, height, width, channels = self.images.shape
        return count, height, width, channels

    def get_batches(self, batch_size: int, epoch: int | None = None) -> Iterator[np.ndarray]:
        """One epoch: every image once, in an order drawn from the seed and the epoch's number.

        Args:
            batch_size: images in a batch. The last batch holds what is left, so it may be smaller.
            epoch: number of the epoch, from 0; without it, the one after the last that was asked for.

        Returns:
            An iterator over float32 batches (batch_size, height, width, channels) in [-1, 1].

        Raises:
            ValueError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        epoch = self._next_epoch if epoch is None else epoch
        self._next_epoch = epoch + 1
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
        starts = range(0, len(order), batch_size)
        return (scale_pixels(self.images[order[start : start + batch_size]]) for start in starts)


def steps_per_epoch(image_count: int, batch_size: int) -> int:
    """Batches in an epoch, the last and smaller one included."""
    return math.ceil(image_count / batch_size)


def scale_pixels(images: np.ndarray) -> np.ndarray:
    """From uint8 (0 to 255) to float32 in [-1, 1], the range of the generator's tanh."""
    return images.astype(np.float32) / 127.5 - 1


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """List the image files in a folder and the folders in it, sorted by path.

    Raises:
        DataError: it is not there, or not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "a file and not a folder" if root.exists() else f"no such folder (seen from {Path.cwd()})"
        raise DataError(f"{root}: {reason}")
    return sorted(
        file for file in root.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()
    )


def load_image(file: str | os.PathLike[str], size: int, mode: str = "RGB") -> np.ndarray:
    """Read one image: upright (EXIF), centre square, `size` x `size`; of an animation the first frame.

    What is transparent becomes gray.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError: not a readable image.
    """
    _check_mode(mode)
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits a pixel: convert() would clip to 255, not scale
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:  # show gray through, not what colour may lie hidden there
            image = Image.alpha_composite(Image.new("RGBA", image.size, GRAY), image.convert("RGBA"))
        image = image.convert(mode)
    square = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, IMAGE_MODES[mode])


def _check_mode(mode: str) -> None:
    if mode not in IMAGE_MODES:
        raise ValueError(f'image mode must be "RGB" or "L", not "{mode}"')


def _listing(skipped: list[tuple[Path, str]]) -> str:
    """Say which files were skipped and why; the first ten by name."""
    lines = [f"{file} ({reason})" for file, reason in skipped[:10]]
    more = [f"and {len(skipped) - 10} more"] if len(skipped) > 10 else []
    return f"{len(skipped)} unreadable: " + "; ".join(lines + more)
