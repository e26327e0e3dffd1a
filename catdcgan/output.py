"""What the command line writes pictures to: one picture, an animation, or a folder of single pictures."""

from __future__ import annotations

import argparse
import mimetypes
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan.errors import InputError
from catdcgan.files import refuse_pipes
from catdcgan.images import PICTURE_SUFFIXES, check_grid, image_grid, save_image
from catdcgan.screen import say
from catdcgan.settings import parse_number

MOST_SAMPLED = 1_000_000  # pictures
OTHER_FILES = (".ckpt", ".mkv", ".npy", ".npz", ".pkl", ".pt", ".pth")  # unknown to Python and to Pillow


def picture_or_folder(text: str) -> Path:
    """A name for a picture, an animation or a folder, but for one that ends like another kind of file.

    A folder that is there may be called anything.
    """
    path = Path(text)
    known = path.suffix.lower() in (*Image.registered_extensions(), *OTHER_FILES)
    known = known or mimetypes.MimeTypes().guess_type(path.name)[0] is not None
    if known and not is_picture_name(path) and not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"no {path.suffix} file can be written: end {text} in .png or .jpg for a picture, in .gif or "
            ".webp for an animation, or name a folder"
        )
    return path


def folder_name(text: str) -> Path:
    """A name for a folder that does not end like a file, unless it is there."""
    path = Path(text)
    if is_picture_name(path) and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} ends like a picture: name a folder")
    return picture_or_folder(text)


def is_picture_name(path: Path) -> bool:
    """Whether a name ends as those of pictures do."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def check_folders(*folders: Path) -> None:
    """Refuse folders that cannot be made, as there is a file in their place or in that of one above."""
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise InputError(f"{there} is a file: name a folder")


def check_output(out: Path, count: int, size: int, columns: int | None = None) -> None:
    """Refuse what `write_pictures` cannot write, before so many pictures of a size are drawn."""
    refuse_pipes(out)
    check_folders(out.parent)
    if is_picture_name(out):
        check_grid(out, count, size, columns)
        return
    if out.is_file():
        raise InputError(f"{out} is a file: name a folder for single pictures, or end it in .png for a grid")
    numbers = [int(file.stem[4:]) for file in out.glob("cat_*.png") if file.stem[4:].isdecimal()]
    if numbers and max(numbers) >= count:  # of an earlier call: who measures the folder would count them in
        raise InputError(f"{out} holds pictures up to {max(numbers)}: remove it, or name another folder")


def write_pictures(images: Iterable[np.ndarray], count: int, out: Path, columns: int | None = None) -> None:
    """Write images (size, size, channels): a grid if `out` ends like a picture, else each as it comes."""
    images = tqdm(images, "cats", total=count, unit=" images", delay=2)
    if is_picture_name(out):
        save_image(image_grid(np.stack(list(images)), columns=columns), out)
        say(f"{count} cats in {out}")
        return
    for number, image in enumerate(images):
        save_image(image_grid(image[None]), out / f"cat_{number:05d}.png")
    say(f"{count} cats in {out}{os.sep}")


def columns_and_rows(text: str) -> tuple[int, int]:
    """The check of an option that takes columns and rows, such as 8x4."""
    shape = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not shape:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMNSxROWS, such as 8x4")
    columns, rows = (parse_number(int, side) for side in shape.groups())
    if columns * rows > MOST_SAMPLED:
        raise argparse.ArgumentTypeError(f"{text} are more than {MOST_SAMPLED:,} pictures")
    return columns, rows
