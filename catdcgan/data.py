"""A folder of images in memory, and the batches that training takes from it."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps
from tqdm import tqdm

from catdcgan.cache import cache_file, cache_key, read_cache, write_cache
from catdcgan.errors import InputError
from catdcgan.faces import to_rgb
from catdcgan.folder import Found, find_files, passed_over_text
from catdcgan.screen import screen

# Pillow's names of the formats that are read, and how the names of such files end. Left to itself Pillow goes
# by content alone, and would hand PostScript of any name to Ghostscript.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),  # Pillow reads it from version 11.3 on
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
IMAGE_MODES = {"RGB": 3, "L": 1}  # Pillow's name of the mode -> channels
LARGEST_PHOTO = 64_000_000  # pixels to decode: 256 MB in each thread
LARGEST_SIDE = 65_535  # pixels, as many as JPEG can have; a row takes memory however narrow it is

# What makes a photo upright that is stored with this EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Item = TypeVar("Item")


class DataError(InputError):
    """The images cannot be used; the message names the folder or file and the remedy."""


class Dataset:
    """Square images of one size, kept in memory as uint8.

    Attributes:
        images: uint8 array (n, size, size, channels).
        image_mode: "RGB" (3 channels) or "L" (grayscale, 1 channel).
        seed: with an epoch's number, decides the order of that epoch.
        skipped: (path, reason) of each file or folder that could not be read.
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
        A file that cannot be read is skipped, and named in one warning; what is no picture by its ending is
        counted in another.

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
            InputError: it is the folder of a run.
            OSError: the folder cannot be read.
            ValueError: `mode` is neither "RGB" nor "L", or `size` is below 1.
        """
        _check_mode(mode)
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, not {size}")
        key, found = None, Found({}, [], [])
        if isinstance(source, str | os.PathLike):
            found = find_images(source)
            where, files = str(source), list(found.files)
            kept_in = cache_file(source, size, mode)
            key = cache_key(source, files, size, mode) if cache else None
        else:
            where, files = "the list of files", [Path(file) for file in source]
        passed_over = passed_over_text(found.passed_over)
        if not files:
            expected = f"expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            reasons = [expected, passed_over, _listing(found.unusable)]
            raise DataError(f"no images in {where}: {'; '.join(filter(None, reasons))}")

        kept = read_cache(kept_in, key, (size, size, IMAGE_MODES[mode])) if key else None
        if kept:
            images, failed = kept
        else:
            images, errors = _decode(files, size, mode, quiet)
            failed = [(number, str(error) or type(error).__name__) for number, error in errors]
        skipped = [*found.unusable, *((files[number], reason) for number, reason in failed)]
        if not len(images):
            raise DataError(f"none of the {len(files)} images in {where} can be read; {_listing(skipped)}")
        if skipped:
            warnings.warn(f"skipped {_listing(skipped)}", stacklevel=2)
        if passed_over:
            warnings.warn(f"{passed_over}, in {where}", stacklevel=2)
        if key and not kept and not any(_may_pass(error) for _, error in errors):
            try:
                write_cache(kept_in, key, images, failed)
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


def is_picture(name: str) -> bool:
    """Whether a file's name ends as those of pictures do."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def find_images(folder: str | os.PathLike[str]) -> Found:
    """List the pictures in a folder and the folders in it, sorted by path; see `find_files`.

    Raises:
        DataError: it is not there, or not a folder.
        InputError: it is the folder of a run.
        OSError: it cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "a file and not a folder" if root.exists() else f"no such folder (seen from {Path.cwd()})"
        raise DataError(f"{root}: {reason}")
    return find_files(root, is_picture)


@contextmanager
def open_image(file: str | os.PathLike[str] | BinaryIO) -> Iterator[Image.Image]:
    """Open a picture of one of the `FORMATS`. Only its header has been read then, and nothing decoded.

    Raises:
        Exception: of any kind; decoders meet a damaged file with almost every one.
    """
    if isinstance(file, str | os.PathLike) and not stat.S_ISREG(os.stat(file).st_mode):
        raise ValueError("not a regular file")  # to open a pipe would wait for ever
    with Image.open(file, formats=_formats()) as image:
        # Of a PNG with other than 8 bits a colour Pillow scales the pixels, but not the transparent colour.
        if image.format == "PNG" and image.tile and "transparency" in image.info:
            value = image.info["transparency"]
            match image.tile[0][3]:  # how the pixels are stored
                case "1":
                    image.info["transparency"] = 255 * (value > 0)
                case "L;2":
                    image.info["transparency"] = 85 * value
                case "L;4":
                    image.info["transparency"] = 17 * value
                case "RGB;16B":
                    image.info["transparency"] = tuple(part >> 8 for part in value)
        yield image


def limit_decoding(image: Image.Image, width: int, height: int) -> None:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8 of its size, as long as that is not below width and height.

    Raises:
        ValueError: what is to be decoded even so is larger than `LARGEST_PHOTO` or `LARGEST_SIDE`.
    """
    image.draft(None, (width, height))
    if image.width * image.height > LARGEST_PHOTO:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {LARGEST_PHOTO // 10**6} million")
    if max(image.size) > LARGEST_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, a side beyond {LARGEST_SIDE:,}")


def load_image(file: str | os.PathLike[str], size: int, mode: str = "RGB") -> np.ndarray:
    """Read one image as `square_pixels` does.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        Exception: of any kind: not a readable image.
    """
    _check_mode(mode)
    with open_image(file) as image:
        return square_pixels(image, size, mode)


def square_pixels(image: Image.Image, size: int, mode: str = "RGB") -> np.ndarray:
    """Decode an opened image: upright (EXIF), centre square, `size` x `size`.

    Of an animation the first frame is taken. What is transparent becomes gray.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        Exception: of any kind: it cannot be decoded.
    """
    # Four times the size wanted leaves the filter enough to work on: the result differs from that of the
    # whole photo by less than JPEG itself adds.
    limit_decoding(image, 4 * size, 4 * size)
    image.load()  # before the orientation is asked for: Pillow turns a TIFF by itself
    turn = _turn(image)
    upright = image if turn is None else image.transpose(turn)
    square = ImageOps.fit(to_rgb(upright).convert(mode), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, IMAGE_MODES[mode])


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright by its EXIF; None for nothing, or where the EXIF cannot be read."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow meets EXIF that is cut short with any; the picture is sound all the same
        return None


@lru_cache
def _formats() -> list[str]:
    """Those of the `FORMATS` that this Pillow knows."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


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
        except Exception as error:  # of whichever kind a decoder raises: none may end the run
            return error.with_traceback(None)  # which would keep the picture in memory

    # Pillow lets go of the interpreter lock while it decodes and resizes, so threads use all cores on photos.
    # On images that are small already they gain little, but a thousand of those take half a second.
    Image.init()  # now, and not in several threads at once
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of photos that are odd, but can be read
        options = {"unit": "image", "delay": 2, "disable": quiet, "file": screen()}
        results = list(tqdm(pool.map(read, files), "reading images", len(files), **options))
    errors = [(number, result) for number, result in enumerate(results) if isinstance(result, Exception)]
    # Writing each image into one array as it comes would save the second copy, but the C library then gives
    # memory back to the system after each photo and asks for it again: half as long again, on Linux.
    images = [result for result in results if isinstance(result, np.ndarray)]
    return np.stack(images) if images else np.empty((0, size, size, IMAGE_MODES[mode]), np.uint8), errors


def _may_pass(error: Exception) -> bool:
    """Whether the system's state is to blame, such as a missing permission, and not the file."""
    return isinstance(error, MemoryError) or bool(getattr(error, "errno", None))


def _check_mode(mode: str) -> None:
    if mode not in IMAGE_MODES:
        raise ValueError(f'image mode must be "RGB" or "L", not "{mode}"')


def _listing(skipped: list[tuple[Path, str]]) -> str:
    """Say which files were skipped and why; the first ten by name. Of no files, nothing."""
    if not skipped:
        return ""
    lines = [f"{file} ({reason})" for file, reason in skipped[:10]]
    more = [f"and {len(skipped) - 10} more"] if len(skipped) > 10 else []
    return f"{len(skipped)} unreadable: " + "; ".join(lines + more)
