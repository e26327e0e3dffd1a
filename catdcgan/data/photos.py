"""Reading a photo: accepted formats, limits of size, orientation, the centre square, and colours."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import PurePath
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from catdcgan.settings import IMAGE_MODES

# Pillow's names of the accepted formats, and the suffixes of their files. By default Pillow goes by content
# alone, and would hand PostScript under any name to Ghostscript.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),  # from Pillow 11.3 on
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
LARGEST_PHOTO = 64_000_000  # pixels to decode: 256 MB in each thread
LARGEST_SIDE = 65_535  # pixels, the limit of JPEG; each row takes memory, however narrow the photo
# EXIF orientation -> the transposition that makes the photo upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
GRAY = (128, 128, 128)


def is_picture(name: str) -> bool:
    """Whether a file's name has the suffix of a picture."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


@contextmanager
def open_image(file: str | os.PathLike[str] | BinaryIO) -> Iterator[Image.Image]:
    """Open a picture in one of the `FORMATS`. Only its header is read; nothing is decoded yet.

    Raises:
        Exception: of any kind; decoders raise almost any error for a damaged file.
    """
    if isinstance(file, str | os.PathLike) and not stat.S_ISREG(os.stat(file).st_mode):
        raise ValueError("not a regular file")  # opening a pipe would block forever
    with Image.open(file, formats=_formats()) as image:
        # In a PNG without 8 bits per channel, Pillow scales the pixels, but not the transparent colour.
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
    """Make a JPEG decode at 1/2, 1/4 or 1/8 of its size, as long as that is not below width and height.

    Raises:
        ValueError: the picture to decode is still larger than `LARGEST_PHOTO` or `LARGEST_SIDE`.
    """
    image.draft(None, (width, height))
    if image.width * image.height > LARGEST_PHOTO:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {LARGEST_PHOTO // 10**6} million")
    if max(image.size) > LARGEST_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, a side beyond {LARGEST_SIDE:,}")


def load_image(file: str | os.PathLike[str], size: int, mode: str = "RGB") -> np.ndarray:
    """Read one image from a file, as `square_pixels` does.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        Exception: of any kind, if the file is not a readable image.
    """
    check_mode(mode)
    with open_image(file) as image:
        return square_pixels(image, size, mode)


def square_pixels(image: Image.Image, size: int, mode: str = "RGB") -> np.ndarray:
    """Decode an opened image: upright (EXIF), centre square, `size` x `size`.

    Of an animation, the first frame is taken. Transparent areas become gray.

    Returns:
        uint8 array (size, size, channels).

    Raises:
        Exception: of any kind, if the image cannot be decoded.
    """
    # Four times the requested size is enough for the filter: the result differs from that of the full-size
    # photo by less than the error of JPEG itself.
    limit_decoding(image, 4 * size, 4 * size)
    image.load()  # before the orientation is read: Pillow rotates a TIFF as it loads
    square = ImageOps.fit(upright(image).convert(mode), (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, IMAGE_MODES[mode])


def upright(image: Image.Image) -> Image.Image:
    """A decoded image in mode RGB, turned according to its EXIF data."""
    turn = _turn(image)
    return to_rgb(image if turn is None else image.transpose(turn))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The transposition that makes an image upright; None if none is needed or its EXIF cannot be read."""
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # truncated EXIF can raise anything; the picture itself is fine
        return None


@lru_cache
def _formats() -> list[str]:
    """The `FORMATS` that this version of Pillow supports."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def check_mode(mode: str) -> None:
    """Raise ValueError unless a mode of pictures is in `IMAGE_MODES`."""
    if mode not in IMAGE_MODES:
        raise ValueError(f'image mode must be "RGB" or "L", not "{mode}"')


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to mode RGB: 16 bits are scaled to 8, and transparent areas become gray.

    Raises:
        ValueError: the pixels have more than 16 bits, so the value of white is unknown.
    """
    if image.mode.startswith(("I", "F")):
        pixels, transparent = np.asarray(image), image.info.get("transparency")
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 0xFFFF:
            raise ValueError("its pixels have 32 bits: save it with 8 or 16")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))  # convert() would clip to 255, not scale
        if transparent is not None:
            image.putalpha(Image.fromarray(np.uint8(255) * (pixels != transparent)))
    if image.has_transparency_data:  # show gray, not the colour hidden under transparent pixels
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GRAY, 255)), image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
