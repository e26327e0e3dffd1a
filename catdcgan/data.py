"""A folder of images in memory, and the batches that training takes from it."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from catdcgan.cache import cache_file, cache_key, read_cache, write_cache
from catdcgan.errors import InputError
from catdcgan.faces import to_rgb
from catdcgan.files import PARTIAL

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
IMAGE_MODES = {"RGB": 3, "L": 1}  # Pillow's name of the mode -> channels

Item = TypeVar("Item")

# What Pillow raises for a file that it cannot read; SyntaxError is its word for a broken PNG chunk.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class DataError(InputError):
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
        cache: bool = True,
        quiet: bool = False,
    ) -> None:
        """Read images from a folder (and the folders in it) or from a list of files.

        Each picture is turned as its EXIF rotation says, cut to its centre square and resized to `size`.
        A file that cannot be read is skipped, and named in one warning.

        Args:
            source: folder, or files.
            size: side of the images, in pixels.
            mode: "RGB" or "L".
            seed: with an epoch's number, decides the order of that epoch.
            cache: keep a folder's images in a hidden file in it, so that the next start is quick. It is used
                as long as the images have the same names, sizes and times. If it cannot be written, a warning
                says so.
            quiet: show no progress.

        Raises:
            DataError: no such folder, no image in it, or none that can be read.
            ValueError: `mode` is neither "RGB" nor "L", or `size` is below 1.
        """
        _check_mode(mode)
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, not {size}")
        key = None
        if isinstance(source, str | os.PathLike):
            where, files = str(source), find_images(source)
            kept_in = cache_file(source, size, mode)
            key = cache_key(source, files, size, mode) if cache else None
        else:
            where, files = "the list of files", [Path(file) for file in source]
        if not files:
            raise DataError(f"no images in {where}: expected files ending in {', '.join(IMAGE_SUFFIXES)}")

        kept = read_cache(kept_in, key, (size, size, IMAGE_MODES[mode])) if key else None
        if kept:
            images, reasons = kept
        else:
            images, errors = _decode(files, size, mode, quiet)
            reasons = [(number, str(error)) for number, error in errors]
        skipped = [(files[number], reason) for number, reason in reasons]
        if not len(images):
            raise DataError(f"none of the {len(files)} images in {where} can be read; {_listing(skipped)}")
        if skipped:
            warnings.warn(f"skipped {_listing(skipped)}", stacklevel=2)
        # An error of the system, such as a missing permission, can go away with no change to the file.
        if key and not kept and not any(getattr(error, "errno", None) for _, error in errors):
            try:
                write_cache(kept_in, key, images, reasons)
            except OSError as error:
                warnings.warn(
                    f"the next start reads all images again, for want of a cache: {error}", stacklevel=2
                )
        self.images = images
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

    def fingerprint(self) -> str:
        """Sum up the images in 16 letters: other images, or another order, give others."""
        return hashlib.blake2b(np.ascontiguousarray(self.images).data, digest_size=8).hexdigest()

    def get_batches(
        self, batch_size: int, epoch: int | None = None, scale: bool = True
    ) -> Iterator[np.ndarray]:
        """One epoch: every image once, in an order drawn from the seed and the epoch's number.

        Args:
            batch_size: images in a batch. The last batch holds what is left, so it may be smaller.
            epoch: number of the epoch, from 0; without it, the one after the last that was asked for.
            scale: False gives the pixels as they are kept, uint8 from 0 to 255: a quarter of the bytes, for
                `train` to scale in the graph.

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
        batches = (self.images[order[start : start + batch_size]] for start in starts)
        return map(scale_pixels, batches) if scale else batches


def steps_per_epoch(image_count: int, batch_size: int) -> int:
    """Batches in an epoch, the last and smaller one included."""
    return math.ceil(image_count / batch_size)


def made_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Give the items of an iterable, each of which is made in a thread while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, iterator, None)
            yield item


def scale_pixels(images: np.ndarray) -> np.ndarray:
    """From uint8 (0 to 255) to float32 in [-1, 1], the range of the generator's tanh."""
    return images.astype(np.float32) / 127.5 - 1


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """List the image files in a folder and the folders in it, sorted by path; not the half-written ones.

    Raises:
        DataError: it is not there, or not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "a file and not a folder" if root.exists() else f"no such folder (seen from {Path.cwd()})"
        raise DataError(f"{root}: {reason}")
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(PARTIAL) and file.is_file()
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
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 of its size. Four times the size wanted leaves the filter
        # enough to work on: the result differs from that of the whole photo by less than JPEG itself adds.
        opened.draft(None, (4 * size, 4 * size))
        image = ImageOps.exif_transpose(opened)
        image = to_rgb(image).convert(mode)
    square = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, IMAGE_MODES[mode])


def _decode(
    files: Sequence[Path], size: int, mode: str, quiet: bool
) -> tuple[np.ndarray, list[tuple[int, Exception]]]:
    """Decode files, in their order, with all cores.

    Returns:
        uint8 images (n, size, size, channels); the number and the error of each file that cannot be read.
    """

    def read(file: Path) -> np.ndarray | Exception:
        try:
            return load_image(file, size, mode)
        except UNREADABLE as error:
            return error.with_traceback(None)  # which would keep the picture in memory

    # Pillow lets go of the interpreter lock while it decodes and resizes, so threads use all cores on photos.
    # On images that are small already they gain little, but a thousand of those take half a second.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = tqdm(pool.map(read, files), "reading images", len(files), unit="image", delay=2, disable=quiet)
        results = list(bar)
    errors = [(number, result) for number, result in enumerate(results) if isinstance(result, Exception)]
    # Writing each image into one array as it comes would save the second copy, but the C library then gives
    # memory back to the system after each photo and asks for it again: half as long again, on Linux.
    images = [result for result in results if isinstance(result, np.ndarray)]
    return np.stack(images) if images else np.empty((0, size, size, IMAGE_MODES[mode]), np.uint8), errors


def _check_mode(mode: str) -> None:
    if mode not in IMAGE_MODES:
        raise ValueError(f'image mode must be "RGB" or "L", not "{mode}"')


def _listing(skipped: list[tuple[Path, str]]) -> str:
    """Say which files were skipped and why; the first ten by name."""
    lines = [f"{file} ({reason})" for file, reason in skipped[:10]]
    more = [f"and {len(skipped) - 10} more"] if len(skipped) > 10 else []
    return f"{len(skipped)} unreadable: " + "; ".join(lines + more)
