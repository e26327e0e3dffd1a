"""A folder of images in memory, and the batches that training takes from it."""

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

from catdcgan.data.cache import cache_file, cache_key, read_cache, write_cache
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
        check_mode(mode)
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


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Hand out the items of an iterable; a thread makes each one while the one before is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, iterator, None)
            yield item


def epoch_batches(
    get_batches: Callable[..., Iterable[np.ndarray]], batch_size: int, epoch: int
) -> Iterator[np.ndarray]:
    """Take the batches of an epoch. The article's `get_batches` takes the batch size, ours the epoch too.

    Raises:
        TrainingError: while they are taken, if there is none or one holds no image.
    """
    takes_epoch = "epoch" in inspect.signature(get_batches).parameters
    batches = get_batches(batch_size, epoch=epoch) if takes_epoch else get_batches(batch_size)
    return _with_images(batches, f"epoch {epoch + 1}: get_batches({batch_size}) gave")


def _with_images(batches: Iterable[np.ndarray], given: str) -> Iterator[np.ndarray]:
    trouble = "no batch"
    for batch in batches:
        trouble = "" if len(batch) else "a batch of no images"
        if trouble:
            break
        yield batch
    if trouble:
        remedy = "Each call must give an epoch's batches anew: an iterator that was used up gives none"
        raise TrainingError(f"{given} {trouble}. {remedy}")


def scale_pixels(images: np.ndarray) -> np.ndarray:
    """From uint8 (0 to 255) to float32 in [-1, 1], the range of the generator's tanh."""
    return images.astype(np.float32) / 127.5 - 1


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


def _listing(skipped: list[tuple[Path, str]]) -> str:
    """Say which files were skipped and why; the first ten by name. Of no files, nothing."""
    if not skipped:
        return ""
    lines = [f"{file} ({reason})" for file, reason in skipped[:10]]
    more = [f"and {len(skipped) - 10} more"] if len(skipped) > 10 else []
    return f"{len(skipped)} unreadable: " + "; ".join(lines + more)
