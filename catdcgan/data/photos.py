"""Reading one photo: which formats, how large, upright, square, in which colours."""

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


GRAY = (128, 128, 128)


def is_picture(name: str) -> bool:
    """Whether a file's name ends as those of pictures do."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


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
    check_mode(mode)
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


def check_mode(mode: str) -> None:
    """Refuse a mode of pictures that is not in `IMAGE_MODES`, with a ValueError."""
    if mode not in IMAGE_MODES:
        raise ValueError(f'image mode must be "RGB" or "L", not "{mode}"')


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB: 16 bits scaled to 8, and gray where it is transparent.

    Raises:
        ValueError: the pixels have more than 16 bits, so that nothing says which of them is white.
    """
    if image.mode.startswith(("I", "F")):
        pixels, transparent = np.asarray(image), image.info.get("transparency")
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 0xFFFF:
            raise ValueError("its pixels have 32 bits: save it with 8 or 16")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))  # convert() would clip to 255, not scale
        if transparent is not None:
            image.putalpha(Image.fromarray(np.uint8(255) * (pixels != transparent)))
    if image.has_transparency_data:  # show gray through, not what colour may lie hidden there
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GRAY, 255)), image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
