"""The command ``catdcgan evaluate``."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from catdcgan.data.dataset import Dataset
from catdcgan.errors import InputError
from catdcgan.evaluate.faces import can_find_faces
from catdcgan.evaluate.figures import ALIKE, Photos, measure, table
from catdcgan.evaluate.likeness import neighbour_sheet
from catdcgan.explore.model_options import add_model_options, trained_with
from catdcgan.files import atomic_write
from catdcgan.images import image_grid, save_image
from catdcgan.latents import random_latents
from catdcgan.output import MOST_SAMPLED, check_file, file_name, picture_name
from catdcgan.run.checkpoint_files import absent_files, existing_checkpoint, find_checkpoint, numbered
from catdcgan.run.folder import RUN_NAME
from catdcgan.screen import say, screen
from catdcgan.settings import LARGEST_SEED, some_path, whole

SHEET, NEIGHBOURS = 256, 16  # pictures in the sheets

TEXT = """Measure how good the cats of one or more checkpoints are, beside photos: faces found, variety,
patterns, details, copies. docs/quality.md explains each figure and how far to trust it. A folder
of pictures can be given in place of a checkpoint."""


def add_evaluate_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    text = "measure how good a trained model's cats are"
    command = add_parser("evaluate", help=text, description=TEXT)
    add, unset = command.add_argument, argparse.SUPPRESS
    number: dict[str, Any] = {"metavar": "N"}
    add_model_options(command, many=True)
    text = "photos to compare with, ideally none that the model was trained on (default: compare with none)"
    add("--data", type=some_path, default=unset, metavar="FOLDER", help=text)
    text = "pictures of each checkpoint"
    add("--count", type=whole(ALIKE, MOST_SAMPLED), default=1000, help=text, **number)
    text = "of the latents: the same seed gives the same cats"
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help=text, **number)
    text = "also write the figures to this file"
    add("--json", type=file_name(".json"), default=unset, metavar="FILE", help=text)
    text = f"also make a picture of the first {SHEET}, of one checkpoint"
    add("--sheet", type=picture_name, default=unset, metavar="FILE", help=text)
    text = f"also make a picture of the first {NEIGHBOURS} and the three photos nearest to each"
    add("--neighbours", type=picture_name, default=unset, metavar="FILE", help=text)
    command.set_defaults(run=_evaluate, refuse=command.error)


def _evaluate(options: argparse.Namespace) -> None:
    given = vars(options)
    found = {name: find_checkpoint(name) for name in options.checkpoint}
    folders = {name for name, checkpoint in found.items() if _holds_pictures(Path(name), checkpoint)}
    # A shell's * finds both files of a checkpoint, which are measured once.
    names = list(dict.fromkeys(name if name in folders else str(found[name]) for name in found))
    sheets = [name for name in ("sheet", "neighbours") if name in given]
    if sheets and len(names) > 1:
        options.refuse(f"--{sheets[0]} is a picture of one checkpoint")
    if "neighbours" in given and "data" not in given:
        options.refuse("--neighbours needs --data")
    if len(sheets) > 1 and options.sheet == options.neighbours:
        options.refuse(f"--sheet and --neighbours are two pictures: {options.sheet} cannot hold both")
    for name in {"sheet", "neighbours", "json"} & given.keys():
        check_file(given[name])
    for name in set(names) - folders:
        existing_checkpoint(name)

    from catdcgan.run.checkpoint import read_architecture
    from catdcgan.sampling import sample_one_by_one

    models = {name: read_architecture(name) for name in names if name not in folders}
    kinds = {(model.image_size, model.image_mode) for model in models.values()}
    if len(kinds) > 1:
        raise InputError("the checkpoints make pictures of different kinds: evaluate them one by one")
    size, mode = kinds.pop() if kinds else (128, "RGB")
    if not can_find_faces():
        warnings.warn(
            "faces are not counted: that needs OpenCV 4: pip install -e '.[evaluate]'", stacklevel=2
        )

    def pictures(name: str) -> np.ndarray:
        if name in folders:
            return _read(name, size, mode)[: options.count]
        z = random_latents(options.count, models[name].z_dim, options.seed, options.z)
        images = sample_one_by_one(name, z, **trained_with(options))
        return _in_colour(np.stack(list(_progress(images, f"{name}: generating", len(z)))))

    photos = Photos(_read(options.data, size, mode), options.count) if "data" in given else None
    columns: dict[str, Any] = {}
    for name in names:
        images = pictures(name)
        columns[name] = measure(images, partial(_progress, what=f"{name}: faces", count=len(images)))
        if photos:
            compared, near = photos.compare(images)
            columns[name] |= compared
        if "sheet" in given:
            save_image(image_grid(images[:SHEET]), options.sheet)
        if "neighbours" in given and photos:
            save_image(neighbour_sheet(images[:NEIGHBOURS], photos.all, near), options.neighbours)
    if photos:
        name = f"photos in {options.data}" if "photos" in columns else "photos"
        columns[name] = photos.measure_themselves(
            partial(_progress, what="photos: faces", count=len(photos.some))
        )
    for line in _lines(table(columns, size)):
        say(line)
    if "json" in given:
        facts = {"data": given.get("data"), "count": options.count, "seed": options.seed, "size": size}
        with atomic_write(options.json) as new:
            new.write_text(json.dumps(facts | {"figures": columns}, indent=2) + "\n", "utf-8")


def _holds_pictures(path: Path, checkpoint: Path) -> bool:
    """Whether a path is a folder of pictures, and not of a run, whose checkpoint this would be."""
    holds_run = (path / RUN_NAME).exists() or numbered(checkpoint.parent)
    return path.is_dir() and bool(absent_files(checkpoint)) and not holds_run


def _read(folder: str, size: int, mode: str) -> np.ndarray:
    """Read the pictures in a folder: uint8 (n, size, size, 3)."""
    images = Dataset(folder, size, mode).images
    if len(images) < ALIKE:
        raise InputError(f"{folder} holds {len(images)} pictures: figures need at least {ALIKE}")
    return _in_colour(images)


def _in_colour(images: np.ndarray) -> np.ndarray:
    """Images (n, size, size, 1 or 3) with three channels."""
    return images.repeat(3 // images.shape[-1], axis=-1)


def _progress(images: Iterable[np.ndarray], what: str, count: int) -> Iterator[np.ndarray]:
    return iter(tqdm(images, what, count, unit=" images", delay=1, leave=False, file=screen()))


def _lines(rows: list[list[str]]) -> list[str]:
    """The lines of a table in Markdown, its columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    rule = ["-" * width for width in widths]
    return ["| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:])]
