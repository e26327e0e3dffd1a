"""Picture output of the command line: one grid, an animation, or a folder of single pictures."""

from __future__ import annotations

import argparse
import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan.errors import InputError
from catdcgan.files import refuse_special
from catdcgan.images import PICTURE_SUFFIXES, check_grid, image_grid, save_image
from catdcgan.screen import printable, say
from catdcgan.settings import parse_number, some_path

MOST_SAMPLED = 1_000_000  # pictures
OTHER_FILES = (".ckpt", ".mkv", ".npy", ".npz", ".pkl", ".pt", ".pth")  # unknown to Python and Pillow


def new_path(text: str) -> Path:
    """Parse a path to write to.

    Raises:
        argparse.ArgumentTypeError: the path is empty, or holds control characters or bytes that are not
            UTF-8: TensorFlow cannot write to it, or a printed command cannot repeat it.
    """
    if printable(some_path(text)) != text:
        raise argparse.ArgumentTypeError(f"{text!r} holds characters that cannot be printed: name another")
    return Path(text)


def picture_or_folder(text: str) -> Path:
    """Parse the name of a picture, an animation or a folder; refuse the suffix of any other kind of file.

    An existing folder may have any suffix but a picture's.

    Raises:
        argparse.ArgumentTypeError: as in `new_path`, or the name has another kind of file's suffix.
    """
    path = new_path(text)
    known = path.suffix.lower() in (*Image.registered_extensions(), *OTHER_FILES)
    known = known or mimetypes.MimeTypes().guess_type(path.name)[0] is not None
    if known and not is_picture_name(path) and not os.path.isdir(path):
        raise argparse.ArgumentTypeError(
            f"no {path.suffix} file can be written: end {text} in .png or .jpg for a picture, in .gif or "
            ".webp for an animation, or name a folder"
        )
    return path


def folder_name(text: str) -> Path:
    """Parse the name of a folder; refuse one with a file's suffix, unless the folder exists.

    Raises:
        argparse.ArgumentTypeError: as in `new_path`, or the name has a file's suffix.
    """
    path = new_path(text)
    if is_picture_name(path) and not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{text} has a picture's suffix: give a folder")
    return picture_or_folder(text)


def file_name(suffix: str) -> Callable[[str], Path]:
    """Make the check for names of files to write or read that must end in `suffix`."""

    def named(text: str) -> Path:
        path = new_path(text)
        if path.suffix.lower() != suffix:
            raise argparse.ArgumentTypeError(f"{text} does not end in {suffix}")
        return path

    return named


def picture_name(text: str) -> Path:
    """Parse the name of a picture.

    Raises:
        argparse.ArgumentTypeError: as in `new_path`, or the name has no picture's suffix.
    """
    path = new_path(text)
    if not is_picture_name(path):
        raise argparse.ArgumentTypeError(f"{text} is no picture's name: end it in .png or .jpg")
    return path


def is_picture_name(path: Path) -> bool:
    """Whether a path has the suffix of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def check_folders(*folders: Path) -> None:
    """Refuse folders that cannot be written to: a file is in the way, or permissions are missing.

    Raises:
        InputError: a folder, or one of its parents, is a file, a broken link or may not be written to; or
            its drive is not there.
    """
    for folder in folders:
        existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
        if existing is None:
            raise InputError(f"{folder.anchor or folder} is not there: name another folder")
        if not existing.is_dir():
            what = "a file" if os.path.exists(existing) else "a link that leads nowhere"
            raise InputError(f"{existing} is {what}: name a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise InputError(f"{existing} is a folder that you may not write to: name another")


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written to.

    Raises:
        InputError: it is a folder, a pipe or a device, or as in `check_folders`.
    """
    refuse_special(path)
    check_folders(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")


def check_output(out: Path, count: int, size: int, columns: int | None = None) -> None:
    """Refuse output that `write_pictures` cannot write, before `count` images of side `size` are made.

    Raises:
        InputError: a file is in the way, the grid is too large, or the folder holds other pictures.
    """
    if is_picture_name(out):
        check_file(out)
        check_grid(out, count, size, columns)
        return
    refuse_special(out)
    check_folders(out.parent)
    if out.is_file():
        raise InputError(f"{out} is a file: name a folder for single pictures, or end it in .png for a grid")
    numbers = [int(file.stem[4:]) for file in out.glob("cat_*.png") if file.stem[4:].isdecimal()]
    if numbers and max(numbers) >= count:  # of an earlier call: measuring the folder would include them
        raise InputError(
            f"{out} already holds pictures up to number {max(numbers)}: remove it, or name another folder"
        )


def write_pictures(
    images: Iterable[np.ndarray], numbers: Sequence[int], out: Path, columns: int | None = None
) -> None:
    """Write uint8 images (size, size, channels): one grid if `out` is a picture's name, else single files.

    The single files are called by the images' `numbers`.

    Raises:
        OSError: a picture cannot be written.
    """
    images = tqdm(images, "cats", total=len(numbers), unit=" images", delay=2)
    cats = f"{len(numbers)} cat{'s' if len(numbers) > 1 else ''}"
    if is_picture_name(out):
        save_image(image_grid(np.stack(list(images)), columns=columns), out)
        say(f"{cats} in {out}")
        return
    for number, image in zip(numbers, images, strict=True):
        save_image(image_grid(image[None]), out / f"cat_{number:05d}.png")
    say(f"{cats} in {out}{os.sep}")


def columns_and_rows(text: str) -> tuple[int, int]:
    """Parse columns and rows, such as 8x4.

    Raises:
        argparse.ArgumentTypeError: the text is not of this form, or the grid has too many cells.
    """
    shape = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not shape:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMNSxROWS, such as 8x4")
    columns, rows = (parse_number(int, side) for side in shape.groups())
    if columns * rows > MOST_SAMPLED:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST_SAMPLED:,} pictures")
    return columns, rows
