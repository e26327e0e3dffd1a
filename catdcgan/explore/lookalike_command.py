"""The command ``catdcgan lookalike``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from catdcgan.data.faces import LARGEST_COORDINATE
from catdcgan.data.portrait import has_landmarks, read_face
from catdcgan.explore.model_options import add_model_options, trained_with, typed_model_options
from catdcgan.output import check_file, picture_name
from catdcgan.run.checkpoint_files import existing_checkpoint
from catdcgan.screen import say
from catdcgan.settings import LARGEST_SEED, some_path, whole

if TYPE_CHECKING:
    from catdcgan.explore.directions import Directions

VARIED = 3  # variations of a double
TURNED = 0.75  # of a knob's limit: the ends look less like photos
GAP, TITLE = 4, 16  # pixels between two columns of the picture, and above each row
MOST_PHOTOS = 64  # at once; the search holds all of them in memory

TEXT = """Find the cat most like yours: for each photo, the face, its double, and three variations of the
double by knobs, side by side in one picture. The double's latent is saved, for catdcgan sample --latents.
--eyes says where the face is, or the CAT dataset's landmarks in PHOTO.cat; otherwise the whole photo must be
the face, a square. docs/knobs-and-exports.md says what to expect."""


def add_lookalike_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    text = "find the cat most like yours"
    command = add_parser("lookalike", help=text, description=TEXT)
    add, unset = command.add_argument, argparse.SUPPRESS
    text = "a photo of a cat; each becomes a row of the picture"
    add("photos", type=some_path, nargs="+", metavar="PHOTO", help=text)
    text = "where the eyes are in the photo, in pixels from its top left corner"
    add("--eyes", type=_eyes, default=unset, metavar="X,Y,X,Y", help=text)
    text = "the picture; the latents go into a .npy file beside it"
    add("--out", type=picture_name, default=Path("lookalike.png"), metavar="FILE", help=text)
    text = "another seed starts the search elsewhere, and finds a slightly different double"
    add("--seed", type=whole(0, LARGEST_SEED), default=0, metavar="N", help=text)
    add_model_options(command)
    command.set_defaults(run=_lookalike, refuse=command.error)


def _eyes(text: str) -> np.ndarray:
    """Parse two points: float64 (2, 2)."""
    try:
        eyes = np.array([float(number) for number in text.split(",")]).reshape(2, 2)
    except ValueError:
        eyes = np.array([np.nan])
    if not (np.abs(eyes) <= LARGEST_COORDINATE).all():
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,X,Y, such as 210,180,330,172")
    return eyes


def _lookalike(options: argparse.Namespace) -> None:
    eyes: np.ndarray | None = vars(options).get("eyes")
    if eyes is not None and len(options.photos) > 1:
        options.refuse("--eyes fits one photo only: give one at a time")
    if len(options.photos) > MOST_PHOTOS:
        options.refuse(f"{len(options.photos)} photos: give at most {MOST_PHOTOS} at once")
    latents = options.out.with_suffix(".npy")
    existing_checkpoint(options.checkpoint)
    for file in (options.out, latents):
        check_file(file)
        # Compared on disk, because a system may ignore case.
        if file.exists() and any(file.samefile(photo) for photo in options.photos if os.path.exists(photo)):
            options.refuse(f"--out would overwrite the photo {file}: name another picture")

    from catdcgan.explore.lookalike import encoder_of, find_doubles
    from catdcgan.export.page import page_link
    from catdcgan.files import atomic_write
    from catdcgan.images import check_sides, save_image
    from catdcgan.latents import save_latents
    from catdcgan.run.checkpoint import read_architecture
    from catdcgan.sampling import sample

    model = read_architecture(options.checkpoint)
    check_sides(options.out, *_sheet_size(len(options.photos), 2 + VARIED, model.image_size))
    faces = np.stack([read_face(photo, eyes, model.image_size, model.image_mode) for photo in options.photos])
    for photo in options.photos:
        if eyes is None and not has_landmarks(photo):
            say(f"{photo}: without --eyes, the whole picture is taken for the face")
    knobs = _knobs(options)
    trained = trained_with(options)
    encoder = encoder_of(options.checkpoint, options.z, **trained)
    z = find_doubles(options.checkpoint, faces, encoder, options.seed, options.z, **trained)
    varied, names = _variations(knobs, z, options.z)
    cats = sample(options.checkpoint, varied.reshape(-1, z.shape[1]), **trained)
    cats = cats.reshape(len(z), -1, *cats.shape[1:])
    with atomic_write(latents) as partial:  # both files, or none
        save_latents(z, partial)
        save_image(_sheet(faces, cats, names), options.out)
    for number, photo in enumerate(options.photos):
        error = np.sqrt(np.square(faces[number] - cats[number, 0].astype(float)).mean())
        say(f"{photo}: the double differs from the face by {error:.0f} gray levels (RMS)")
        say(f"link for the page: {page_link(z[number], options.z)}")
    say(f"{len(z)} double{'s' * (len(z) > 1)} in {options.out}, the latents in {latents}")


def _knobs(options: argparse.Namespace) -> Directions:
    """The directions beside a checkpoint, else those that need no idea of the pictures."""
    from catdcgan.explore.directions import directions_file, find_numbered_directions, read_directions

    checkpoint = options.checkpoint
    if directions_file(checkpoint).exists():
        return read_directions(checkpoint, how=typed_model_options(options))
    return find_numbered_directions(checkpoint, options.z)


def _variations(knobs: Directions, z: np.ndarray, distribution: str) -> tuple[np.ndarray, list[list[str]]]:
    """Each double (n, z_dim) and its variations, (n, 1 + VARIED, z_dim), and their names.

    A knob is turned from where the double is past the average cat: a dark coat becomes light.
    """
    from catdcgan.explore.properties import PROPERTIES
    from catdcgan.latents import shift_latents

    positions = z @ np.linalg.pinv(knobs.vectors)  # (n, k), in units: a unit of a vector changes one of them
    rows, names = [z], [["double"] for _ in z]
    for number, name in enumerate(knobs.names[:VARIED]):
        up = positions[:, number] < 0
        low, high = knobs.limits[number]
        step = TURNED * np.where(up, high, low)[:, None] * knobs.vectors[number]
        rows.append(shift_latents(z, step, distribution))
        ends = (PROPERTIES[name].less, PROPERTIES[name].more) if name in PROPERTIES else ("-", "+")
        for row, turned in zip(names, up, strict=True):
            row.append(f"{name}: {ends[int(turned)]}")
    return np.stack(rows, 1), names


def _sheet_size(rows: int, columns: int, side: int) -> tuple[int, int]:
    """Width and height of a sheet of pictures of side `side`."""
    return columns * (side + GAP) - GAP, rows * (side + TITLE)


def _sheet(faces: np.ndarray, cats: np.ndarray, names: list[list[str]]) -> Image.Image:
    """A row for each face: the photo, the double, its variations, each with its name above."""
    side = faces.shape[1]
    picture = Image.new("RGB", _sheet_size(len(faces), 1 + cats.shape[1], side), "white")
    pen = ImageDraw.Draw(picture)
    for row, (face, doubles, texts) in enumerate(zip(faces, cats, names, strict=True)):
        top = row * (side + TITLE)
        for column, (image, text) in enumerate(zip([face, *doubles], ["photo", *texts], strict=True)):
            pen.text((column * (side + GAP) + 2, top + 2), text, "black")
            picture.paste(Image.fromarray(image.squeeze()), (column * (side + GAP), top + TITLE))
    return picture
