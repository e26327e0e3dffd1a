"""A cache of a folder's decoded images: a hidden file in that folder, so that the next start is fast.

The file has a line with the key and a checksum of the rest, a line of JSON with the files that could not be
read, and the pixels. The key covers everything that the pixels depend on; a file whose key or checksum does
not match is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from catdcgan.files import atomic_write

FORMAT = 2  # version of the file and of the decoding; increase it when either changes

Skipped = list[tuple[int, str]]  # index of a file that cannot be read, and the reason


def cache_file(folder: str | os.PathLike[str], size: int, mode: str) -> Path:
    """The path of a folder's cache. Each size and mode has its own file."""
    return Path(folder, f".catdcgan-{size}-{mode}.cache")


def cache_key(folder: str | os.PathLike[str], files: Sequence[Path], size: int, mode: str) -> str | None:
    """Hash what the images depend on: each file's name in the folder, size and time, and the settings.

    Compute it before decoding the files, so that a file that changes during decoding gets another key.

    Returns:
        The key, or None if a file has disappeared since the folder was listed.
    """
    try:
        states = [(file.relative_to(folder).as_posix(), file.stat()) for file in files]
    except OSError:
        return None
    facts = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    # Another version of Pillow may bring another JPEG decoder, or read what this one cannot.
    text = json.dumps([FORMAT, PIL.__version__, size, mode, facts])
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def read_cache(file: Path, key: str, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, Skipped] | None:
    """Read what `write_cache` wrote under the same key.

    Returns:
        uint8 images (n, *image_shape) and the skipped files; None if there is no cache, or it belongs to
        another folder, is out of date or damaged.
    """
    try:
        if not file.is_file():  # opening a pipe would block forever
            return None
        with file.open("rb") as stream:
            if stream.read(len(key) + 1) != f"{key} ".encode():
                return None
            checksum = stream.readline(9)
            header = stream.readline()
            rest = os.fstat(stream.fileno()).st_size - stream.tell()
            images = np.empty((rest // int(np.prod(image_shape)), *image_shape), np.uint8)
            if stream.readinto(images.data) != rest:
                return None
    except OSError:
        return None
    if checksum != _checksum(header, images):
        return None
    return images, [(number, reason) for number, reason in json.loads(header)]


def write_cache(file: Path, key: str, images: np.ndarray, skipped: Skipped) -> None:
    """Store uint8 images (n, size, size, channels) and the skipped files, in an atomic write.

    Raises:
        OSError: the folder is read-only or the disk is full; nothing is left behind.
    """
    header = json.dumps(skipped).encode() + b"\n"
    with atomic_write(file) as partial, partial.open("wb") as stream:
        stream.write(f"{key} ".encode() + _checksum(header, images) + header)
        stream.write(images.data)


def _checksum(header: bytes, images: np.ndarray) -> bytes:
    """CRC-32, the fastest available checksum: accidental damage is the only concern."""
    return b"%08x\n" % zlib.crc32(images.data, zlib.crc32(header))
