"""GIF and WebP animations of pictures of the same size, written one frame at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from PIL import GifImagePlugin, Image

from catdcgan.files import atomic_write
from catdcgan.images import check_sides

ANIMATION_SUFFIXES = (".gif", ".webp")


def save_animation(
    pictures: Iterable[Image.Image | str | os.PathLike[str]],
    path: str | os.PathLike[str],
    milliseconds: int = 100,
    last_milliseconds: int | None = None,
) -> None:
    """Join pictures of the same size into an animation that loops forever.

    Only two pictures are in memory at a time, however many there are. A GIF has 256 colours per picture and
    stores times in hundredths of a second; a WebP is a quarter of its size.

    Args:
        pictures: files or pictures; an iterator works too.
        path: file to write; its suffix, .gif or .webp, decides the format.
        milliseconds: how long each picture is shown.
        last_milliseconds: how long the last one is shown; by default as long as the others.

    Raises:
        ValueError: there are no pictures, their sizes differ, or the suffix is neither .gif nor .webp.
        InputError: the pictures are too large for the format.
        OSError: a picture cannot be read, or the animation cannot be written; an existing file is kept.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ANIMATION_SUFFIXES:
        raise ValueError(f"{path}: an animation's name must end in {' or '.join(ANIMATION_SUFFIXES)}")
    write = _write_gif if suffix == ".gif" else _write_webp
    frames = _frames(pictures)
    first = next(frames, None)
    if not first:
        raise ValueError("an animation needs at least one picture")
    check_sides(path, first.width, first.height)
    with atomic_write(path) as partial, partial.open("wb") as stream:
        write(stream, _timed(chain([first], frames), milliseconds, last_milliseconds or milliseconds))


# Pillow's own animation writers keep all frames in memory (GIF, PNG) or all encoded frames (WebP).


def _frames(pictures: Iterable[Image.Image | str | os.PathLike[str]]) -> Iterator[Image.Image]:
    """Yield pictures of the same size, in mode "L" or "RGB"; each file is read only when it is needed."""
    size = None
    for number, picture in enumerate(pictures):
        if isinstance(picture, Image.Image):
            name = f"picture {number}"
            frame = _opaque(picture)
        else:
            name = os.fspath(picture)
            with Image.open(picture) as opened:
                frame = _opaque(opened)
        if not size:
            first, size = name, frame.size
        if frame.size != size:
            raise ValueError(
                f"{name} has {frame.width} x {frame.height} pixels, and {first} has "
                f"{size[0]} x {size[1]}: the pictures of an animation must have the same size"
            )
        yield frame


def _timed(
    frames: Iterator[Image.Image], milliseconds: int, last_milliseconds: int
) -> Iterator[tuple[Image.Image, int]]:
    """Add to each frame how long it is shown."""
    frame = next(frames)
    for following in frames:
        yield frame, milliseconds
        frame = following
    yield frame, last_milliseconds


def _opaque(picture: Image.Image) -> Image.Image:
    """Copy only a picture's pixels, in mode "L" or "RGB"."""
    copy = picture.convert("L" if picture.mode == "L" else "RGB")
    copy.info.clear()  # for example a transparent colour, which would be written too
    return copy


def _write_gif(stream: BinaryIO, frames: Iterator[tuple[Image.Image, int]]) -> None:
    for number, (frame, milliseconds) in enumerate(frames):
        if frame.mode == "L":
            paletted = frame.convert("P")  # all 256 grays
        else:  # with dithering, even the coarse octree palette looks right, in a tenth of median cut's time
            paletted = frame.quantize(palette=frame.quantize(method=Image.Quantize.FASTOCTREE))
        if number == 0:
            header, _ = GifImagePlugin.getheader(paletted, info={"loop": 0})
            stream.writelines(header)
        block = GifImagePlugin.getdata(paletted, duration=milliseconds, include_color_table=True)
        stream.writelines(block)
        block.clear()  # Pillow keeps it in a reference cycle: it would live until the next collection
    stream.write(b";")


def _write_webp(stream: BinaryIO, frames: Iterator[tuple[Image.Image, int]]) -> None:
    """Write the container of RFC 9649; each frame in it is a picture encoded by Pillow."""
    stream.write(b"RIFF" + bytes(4) + b"WEBP")
    for number, (frame, milliseconds) in enumerate(frames):
        size = b"".join((side - 1).to_bytes(3, "little") for side in frame.size)
        if number == 0:
            stream.write(_riff_chunk(b"VP8X", b"\x02" + bytes(3) + size))  # flags: animation
            stream.write(_riff_chunk(b"ANIM", bytes(6)))  # no background; a loop count of 0 means forever
        picture = io.BytesIO()
        frame.save(picture, "WEBP")
        packed = picture.getvalue()[12:]  # without the RIFF header
        top_left, duration, flags = bytes(6), milliseconds.to_bytes(3, "little"), bytes(1)
        stream.write(_riff_chunk(b"ANMF", top_left + size + duration + flags + packed))
    length = stream.tell() - 8
    stream.seek(4)
    stream.write(length.to_bytes(4, "little"))


def _riff_chunk(name: bytes, content: bytes) -> bytes:
    """Build a chunk: name, length, content. The content must have an even length."""
    return name + len(content).to_bytes(4, "little") + content
