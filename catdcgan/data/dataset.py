"""A dataset of images in memory, and its batches for training."""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan.data.cache import Skipped, cache_file, cache_key, read_cache, write_cache
from catdcgan.data.listing import Found, find_files, passed_over_text
from catdcgan.data.photos import IMAGE_SUFFIXES, check_mode, is_picture, load_image
from catdcgan.errors import DataError, TrainingError
from catdcgan.screen import screen
from catdcgan.settings import IMAGE_MODES

Item = TypeVar("Item")


class Dataset:
    """Square images of one size, kept in memory as uint8.

    Attributes:
        images: uint8 array (n, size, size, channels).
        image_mode: "RGB" (3 channels) or "L" (grayscale, 1 channel).
        seed: together with an epoch's number, determines the order of that epoch.
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
        """Read images from a folder and its subfolders, or from a list of files.

        Each picture is rotated according to its EXIF data, cropped to its centre square and resized to
        `size`. Files that cannot be read are skipped and named in one warning; files without a picture's
        suffix are counted in another.

        Args:
            source: folder, or files.
            size: side of the images, in pixels.
            mode: "RGB" or "L".
            seed: together with an epoch's number, determines the order of that epoch.
            cache: keep a folder's images in a hidden file in it, so that the next start is fast. It is used
                as long as the images have the same names, sizes and times. If it cannot be written, a warning
                says so.
            quiet: show no progress.

        Raises:
            DataError: there is no such folder, it holds no images, or none of them can be read.
            InputError: it is the folder of a run.
            OSError: the folder cannot be read.
            ValueError: `mode` is neither "RGB" nor "L", or `size` is below 1.
        """
        check_mode(mode)
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel, not {size}")
        kept, found = None, Found({}, [], [])
        if isinstance(source, str | os.PathLike):
            found = find_images(source)
            where, files = str(source), list(found.files)
            key = cache_key(source, files, size, mode) if cache else None
            kept = (cache_file(source, size, mode), key) if key else None
        else:
            where, files = "the list of files", [Path(file) for file in source]
        passed_over = passed_over_text(found.passed_over)
        if not files:
            expected = f"expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            reasons = [expected, passed_over, _listing(found.unusable)]
            raise DataError(f"no images in {where}: {'; '.join(filter(None, reasons))}")

        images, failed = _read(files, size, mode, quiet, kept)
        skipped = [*found.unusable, *((files[number], reason) for number, reason in failed)]
        if not len(images):
            raise DataError(f"none of the {len(files)} images in {where} can be read; {_listing(skipped)}")
        if skipped:
            warnings.warn(f"skipped {_listing(skipped)}", stacklevel=2)
        if passed_over:
            warnings.warn(f"{passed_over}, in {where}", stacklevel=2)
        self.images = images
        self.image_mode = mode
        self.seed = seed
        self.skipped = skipped
        self._next_epoch = 0

    @classmethod
    def from_array(cls, images: np.ndarray, seed: int = 0) -> Dataset:
        """Make a dataset from images already in memory: uint8 (n, height, width, 3 or 1).

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
        """Hash the images to 16 hexadecimal digits: other images, or another order, give another hash."""
        return hashlib.blake2b(np.ascontiguousarray(self.images).data, digest_size=8).hexdigest()

    def put_aside(self, part: float) -> np.ndarray:
        """Take a part of the images out, chosen by the seed, and return them: at least one, and not all.

        Raises:
            DataError: there is only one image.
        """
        count = len(self.images)
        if count < 2:
            raise DataError("no picture can be put aside from a single one: add more")
        aside = min(max(round(part * count), 1), count - 1)
        chosen = np.zeros(count, bool)
        chosen[np.random.default_rng((self.seed, 0, 1)).permutation(count)[:aside]] = True  # no epoch's order
        held_out, self.images = self.images[chosen], self.images[~chosen]
        return held_out

    def get_batches(
        self, batch_size: int, epoch: int | None = None, scale: bool = True
    ) -> Iterator[np.ndarray]:
        """Iterate over one epoch: every image once, in an order that depends on the seed and the epoch.

        Args:
            batch_size: images in a batch. The last batch holds the remaining images, so it may be smaller.
            epoch: number of the epoch, from 0; by default, the one after the last that was requested.
            scale: False gives the pixels as stored, uint8 from 0 to 255: a quarter of the bytes, for `train`
                to scale in the graph.

        Returns:
            An iterator over batches (batch_size, height, width, channels): float32 in [-1, 1], or uint8.

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


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of an iterable; a thread prepares the next one while the current one is in use.

    None ends the iteration, so it cannot be an item.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, iterator, None)
            yield item


def epoch_batches(
    get_batches: Callable[..., Iterable[np.ndarray]], batch_size: int, epoch: int
) -> Iterator[np.ndarray]:
    """Yield the batches of an epoch. The article's `get_batches` takes a batch size, ours also the epoch.

    Raises:
        TrainingError: during iteration, if there is no batch or a batch holds no images.
    """
    takes_epoch = "epoch" in inspect.signature(get_batches).parameters
    batches = get_batches(batch_size, epoch=epoch) if takes_epoch else get_batches(batch_size)
    return _with_images(batches, f"epoch {epoch + 1}: get_batches({batch_size}) gave")


def _with_images(batches: Iterable[np.ndarray], prefix: str) -> Iterator[np.ndarray]:
    """Yield the batches; raise TrainingError, its message starting with `prefix`, if one is empty."""
    trouble = "no batch"
    for batch in batches:
        trouble = "" if len(batch) else "a batch of no images"
        if trouble:
            break
        yield batch
    if trouble:
        remedy = "Each call must return a fresh iterable: a used-up iterator gives nothing"
        raise TrainingError(f"{prefix} {trouble}. {remedy}")


def scale_pixels(images: np.ndarray) -> np.ndarray:
    """Convert uint8 (0 to 255) to float32 in [-1, 1], the range of the generator's tanh."""
    return images.astype(np.float32) / 127.5 - 1


def find_images(folder: str | os.PathLike[str]) -> Found:
    """List the pictures in a folder and its subfolders, sorted by path; see `find_files`.

    Raises:
        DataError: it does not exist, or is not a folder.
        InputError: it is the folder of a run.
        OSError: it cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        reason = "is a file, not a folder" if root.exists() else f"no such folder (seen from {Path.cwd()})"
        raise DataError(f"{root}: {reason}")
    return find_files(root, is_picture)


def _read(
    files: Sequence[Path], size: int, mode: str, quiet: bool, kept: tuple[Path, str] | None
) -> tuple[np.ndarray, Skipped]:
    """Read files, in order: from their cache, given its path and key, or decoding them, which makes it.

    Returns:
        uint8 images (n, size, size, channels); the files that cannot be read.
    """
    if kept and (cached := read_cache(*kept, (size, size, IMAGE_MODES[mode]))):
        return cached
    images, errors = _decode(files, size, mode, quiet)
    failed = [(number, str(error) or type(error).__name__) for number, error in errors]
    if kept and len(images) and not any(_is_temporary(error) for _, error in errors):
        try:
            write_cache(*kept, images, failed)
        except OSError as error:
            text = f"the next start reads all images again, for want of a cache: {error}"
            warnings.warn(text, stacklevel=3)
    return images, failed


def _decode(
    files: Sequence[Path], size: int, mode: str, quiet: bool
) -> tuple[np.ndarray, list[tuple[int, Exception]]]:
    """Decode files, in order, on all cores.

    Returns:
        uint8 images (n, size, size, channels); the index and the error of each file that cannot be read.
    """

    def read(file: Path) -> np.ndarray | Exception:
        try:
            return load_image(file, size, mode)
        except Exception as error:  # decoders raise all kinds of errors; none of them may end the run
            return error.with_traceback(None)  # the traceback would keep the picture in memory

    # Pillow releases the GIL while it decodes and resizes, so threads use all cores on photos. On images that
    # are already small they gain little, but a thousand of those take half a second.
    Image.init()  # here, not in several threads at once
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd but readable photos
        options = {"unit": "image", "delay": 2, "disable": quiet, "file": screen()}
        results = list(tqdm(pool.map(read, files), "reading images", len(files), **options))
    errors = [(number, result) for number, result in enumerate(results) if isinstance(result, Exception)]
    # Writing each image straight into one array would avoid the second copy. But the C library would then
    # return memory to the system after each photo and request it again: 1.5 times as long, on Linux.
    images = [result for result in results if isinstance(result, np.ndarray)]
    return np.stack(images) if images else np.empty((0, size, size, IMAGE_MODES[mode]), np.uint8), errors


def _is_temporary(error: Exception) -> bool:
    """Whether an error comes from the system's state, such as a missing permission, and not from the file."""
    return isinstance(error, MemoryError) or bool(getattr(error, "errno", None))


def _listing(skipped: list[tuple[Path, str]]) -> str:
    """Say which files were skipped and why, the first ten by name; an empty text if none were."""
    if not skipped:
        return ""
    lines = [f"{file} ({reason})" for file, reason in skipped[:10]]
    more = [f"and {len(skipped) - 10} more"] if len(skipped) > 10 else []
    return f"{len(skipped)} unreadable: " + "; ".join(lines + more)
