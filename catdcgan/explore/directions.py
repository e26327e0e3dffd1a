"""Directions among a generator's latents that change one property of its pictures: knobs to turn.

Named directions belong to generators of cat faces: properties are measured in random pictures and regressed
linearly onto their latents. Numbered ones need no idea of what is in the pictures: they are those that the
first layer passes on most strongly (SeFa: Shen and Zhou 2021, arXiv:2007.06600).
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from catdcgan.errors import InputError
from catdcgan.explore.properties import PROPERTIES, measure_properties
from catdcgan.files import atomic_write, refuse_special
from catdcgan.images import image_grid
from catdcgan.latents import random_latents, shift_latents
from catdcgan.run.checkpoint_files import find_checkpoint
from catdcgan.sampling import read_weights, sample, sample_one_by_one
from catdcgan.screen import screen

FILE_NAME = "directions.npz"
COUNT = 1000  # pictures; with 500 the directions are noisy
FOLDS = 5  # parts of the pictures, each left out once to see how well its properties are predicted
NUMBERED = 8  # directions without a name
NUMBERED_LIMIT = 3  # standard deviations of a latent along such a direction


class Directions(NamedTuple):
    """Directions of one generator, k of them.

    One unit moves the named property by one standard deviation among the generator's pictures, and leaves the
    other properties; along a numbered direction, one unit is one standard deviation of the latents.
    """

    names: tuple[str, ...]
    vectors: np.ndarray  # float32 (k, z_dim): what to add to a latent for one unit
    limits: np.ndarray  # float32 (k, 2): the lowest and the highest amount that leave a cat a cat
    fit: np.ndarray  # float32 (k,): held-out R2 of a property; share of the first layer's power, if numbered
    fingerprint: str  # of the generator's weights


def find_directions(
    checkpoint: str | os.PathLike[str],
    count: int | None = None,
    pixel_range: float = 1.0,
    alpha: float = 0.2,
    z_distribution: str = "uniform",
) -> Directions:
    """Find the directions of a generator of cat faces that change one of `PROPERTIES` each.

    Properties of colour are left out for grayscale pictures.

    Args:
        checkpoint: as in `sample`.
        count: random pictures to measure, those of seed 0; by default ten for each number of a latent, and at
            least `COUNT`.
        pixel_range: as in `sample`.
        alpha: as in `sample`.
        z_distribution: as in `random_latents`.

    Raises:
        CheckpointError: as in `sample`.
        InputError: the pictures do not differ in a property, or the latents have fewer numbers than there are
            properties.
        ValueError: `count` is too low for the length of the latents, or `z_distribution` is unknown.
    """
    weights = read_weights(checkpoint)
    z_dim = len(weights["generator/dense/kernel"])
    count = max(COUNT, 10 * z_dim) if count is None else count
    if (count - count // FOLDS) <= z_dim + 1:
        raise ValueError(f"{count} pictures are too few for latents of {z_dim} numbers: take {10 * z_dim}")
    z = random_latents(count, z_dim, 0, z_distribution)
    images = sample_one_by_one(checkpoint, z, pixel_range, alpha)
    bar = tqdm(images, "measuring", total=count, unit=" images", delay=2, file=screen())
    measured = [measure_properties(image) for image in bar]
    names = tuple(measured[0])
    values = np.array([list(each.values()) for each in measured])  # (count, k)
    if constant := [name for name, spread in zip(names, values.std(0), strict=True) if not spread > 1e-6]:
        raise InputError(
            f"the pictures of {checkpoint} do not differ in {', '.join(constant)}: "
            "train it longer, or take numbered directions (--unsupervised)"
        )
    if z_dim < len(names):
        raise InputError(
            f"{checkpoint} has {z_dim} latent numbers for {len(names)} properties: take numbered directions "
            "(--unsupervised)"
        )
    values = (values - values.mean(0)) / values.std(0)
    # One step along row i of the pseudo-inverse changes property i by 1 and the others by 0.
    vectors = np.linalg.pinv(_slopes(z, values)[:-1])
    limits = [(PROPERTIES[name].low, PROPERTIES[name].high) for name in names]
    return _directions(names, vectors, limits, _held_out_fit(z, values), weights)


def find_numbered_directions(
    checkpoint: str | os.PathLike[str], z_distribution: str = "uniform"
) -> Directions:
    """Find the directions of any generator to which its first layer responds most, numbered from 1.

    They are the eigenvectors of the dense kernel times its transpose, the strongest first. What they change
    must be found out by looking, and they change several things at once.

    Args:
        checkpoint: as in `sample`.
        z_distribution: as in `random_latents`; it decides how long a unit is.

    Raises:
        CheckpointError: as in `sample`.
    """
    weights = read_weights(checkpoint)
    kernel = weights["generator/dense/kernel"].astype(np.float64)  # (z_dim, features)
    powers, axes = np.linalg.eigh(kernel @ kernel.T)
    powers, axes = powers[::-1], axes.T[::-1]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]  # either sign is as good
    deviation = 1 / np.sqrt(3) if z_distribution == "uniform" else 1.0
    names = tuple(f"{number + 1}" for number in range(min(NUMBERED, len(axes))))
    limits = [(-NUMBERED_LIMIT, NUMBERED_LIMIT)] * len(names)
    fit = powers[: len(names)] / powers.sum()
    return _directions(names, axes[: len(names)] * deviation, limits, fit, weights)


def _directions(
    names: tuple[str, ...],
    vectors: np.ndarray,
    limits: Sequence[tuple[float, float]],
    fit: np.ndarray,
    weights: Mapping[str, np.ndarray],
) -> Directions:
    vectors, bounds, fit = (np.asarray(values, np.float32) for values in (vectors, limits, fit))
    return Directions(names, vectors, bounds, fit, fingerprint(weights))


def _slopes(z: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients (z_dim + 1, k) of the linear regression of values (n, k) onto latents (n, z_dim)."""
    return np.asarray(np.linalg.lstsq(np.c_[z, np.ones(len(z))], values, rcond=None)[0])


def _held_out_fit(z: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How much of the variance of each of the values (n, k) latents predict that were not fitted: R2 (k,)."""
    fold = np.arange(len(z)) % FOLDS
    errors = np.empty_like(values)
    for out in range(FOLDS):
        slopes = _slopes(z[fold != out], values[fold != out])
        errors[fold == out] = values[fold == out] - np.c_[z, np.ones(len(z))][fold == out] @ slopes
    return np.asarray(1 - errors.var(0) / values.var(0))


def fingerprint(weights: Mapping[str, np.ndarray]) -> str:
    """A short hash of a generator's variables, as `read_weights` gives them."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].tobytes())
    return digest.hexdigest()[:16]


def direction_step(directions: Directions, amounts: Mapping[str, float]) -> np.ndarray:
    """What to add to latents to turn several knobs at once, for `shift_latents`: float32 (z_dim,).

    Args:
        directions: of the generator.
        amounts: how far to move along each direction, by name, in its units.

    Raises:
        InputError: a name is unknown, or an amount is outside the direction's limits.
    """
    limits = dict(zip(directions.names, directions.limits.tolist(), strict=True))
    bad = [name for name, amount in amounts.items() if not _within(amount, limits.get(name))]
    if bad:
        given = ", ".join(f"{name}={amounts[name]:g}" for name in bad)
        known = ", ".join(f"{name} {_poles(name)}{low:g} to {high:g}" for name, (low, high) in limits.items())
        raise InputError(f"cannot set {given}; there are {known}")
    wanted = np.array([amounts.get(name, 0) for name in directions.names], np.float32)
    return np.asarray(wanted @ directions.vectors)


def _within(amount: float, limits: Sequence[float] | None) -> bool:
    return limits is not None and limits[0] <= amount <= limits[1]


def _poles(name: str) -> str:
    return f"({PROPERTIES[name].less} to {PROPERTIES[name].more}) " if name in PROPERTIES else ""


def directions_file(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the directions of a checkpoint are kept unless another file is named: beside it."""
    return find_checkpoint(checkpoint).with_name(FILE_NAME)


def save_directions(directions: Directions, path: str | os.PathLike[str]) -> None:
    """Write directions to an .npz file.

    Raises:
        OSError: the file cannot be written; an existing file is kept.
    """
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savez(
            stream,
            names=np.array(directions.names),
            vectors=directions.vectors,
            limits=directions.limits,
            fit=directions.fit,
            fingerprint=np.array(directions.fingerprint),
        )


def read_directions(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    how: Sequence[str] = (),
) -> Directions:
    """Read the directions of a checkpoint, and make sure that they are this generator's.

    Args:
        checkpoint: as in `sample`.
        path: the file; by default ``directions.npz`` beside the checkpoint.
        how: the model was trained, as `model_options` says it, for the command in an error.

    Raises:
        CheckpointError: as in `sample`.
        InputError: the file is missing, damaged, or of another generator; the message has the command that
            makes it.
        OSError: the file cannot be read.
    """
    file = Path(path or directions_file(checkpoint))
    command = [
        "catdcgan",
        "directions",
        "--checkpoint",
        str(checkpoint),
        *how,
        *(["--out", str(path)] if path else []),
    ]
    remedy = shlex.join(command)
    refuse_special(file)
    if not file.exists():
        raise InputError(f"{checkpoint} has no directions yet, {file} does not exist: run {remedy}")
    try:
        with file.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as stored:
            names, vectors, limits, fit, made_for = (stored[name] for name in Directions._fields)
        if names.dtype.kind + made_for.dtype.kind != "UU" or not names.size:
            raise ValueError("no names")
        if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in (vectors, limits, fit)):
            raise ValueError("not all numbers are finite")
        directions = Directions(tuple(names.tolist()), vectors, limits, fit, str(made_for))
        fits = vectors.shape[:1] == limits.shape[:1] == fit.shape == names.shape and limits.shape[1:] == (2,)
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen types for a damaged file
        raise InputError(f"{file} is no file of directions ({error}): run {remedy}") from None
    weights = read_weights(checkpoint)
    z_dim = len(weights["generator/dense/kernel"])
    if not fits or vectors.shape[1:] != (z_dim,) or directions.fingerprint != fingerprint(weights):
        raise InputError(f"{file} holds the directions of another model than {checkpoint}: run {remedy}")
    return directions


def directions_picture(
    checkpoint: str | os.PathLike[str],
    directions: Directions,
    z: np.ndarray,
    pixel_range: float = 1.0,
    alpha: float = 0.2,
    z_distribution: str = "uniform",
) -> Image.Image:
    """Show what directions do: a row for each, in which a few cats are moved from its low to its high end.

    Each cat has five columns: both ends, half way to both, and, in the middle, the cat itself.

    Args:
        checkpoint: as in `sample`.
        directions: of the generator in it.
        z: latents (n, z_dim) of the cats.
        pixel_range: as in `sample`.
        alpha: as in `sample`.
        z_distribution: as in `random_latents`.

    Raises:
        CheckpointError: as in `sample`.
    """
    amounts = directions.limits[:, :1] * [1, 0.5, 0, 0, 0] + directions.limits[:, 1:] * [0, 0, 0, 0.5, 1]
    steps = amounts[:, None, :, None] * directions.vectors[:, None, None]  # (k, 1, 5, z_dim)
    moved = shift_latents(z[:, None], steps, z_distribution)  # (k, n, 5, z_dim)
    images = sample(checkpoint, moved.reshape(-1, z.shape[1]), pixel_range, alpha)
    cats = [image_grid(part.reshape(-1, *images.shape[1:]), columns=5) for part in _by_cat(images, len(z))]
    return _with_titles(cats, directions)


def _by_cat(images: np.ndarray, count: int) -> np.ndarray:
    """Sort images (k * n * 5, ...) by cat: (n, k, 5, ...)."""
    return images.reshape(-1, count, 5, *images.shape[1:]).swapaxes(0, 1)


def _with_titles(columns: Sequence[Image.Image], directions: Directions) -> Image.Image:
    """Put a column of titles in front of pictures that have a row for each direction, and gaps between."""
    side = columns[0].height // len(directions.names)
    gap, left = side // 8, int(1.5 * side)
    width = left + sum(column.width + gap for column in columns) - gap
    picture = Image.new("RGB", (width, columns[0].height), "white")
    for number, column in enumerate(columns):
        picture.paste(column, (left + number * (column.width + gap), 0))
    pen = ImageDraw.Draw(picture)
    large, small = (ImageFont.load_default(side * part) for part in (0.19, 0.125))
    for row, (name, (low, high)) in enumerate(zip(directions.names, directions.limits, strict=True)):
        middle = (row + 0.5) * side
        pen.text((gap, middle), name, "black", large, anchor="ls")
        poles = f"{PROPERTIES[name].less} to {PROPERTIES[name].more}" if name in PROPERTIES else ""
        pen.text((gap, middle + 0.2 * side), poles, "black", small, anchor="ls")
        pen.text((gap, middle + 0.4 * side), f"{low:+g} to {high:+g}", "black", small, anchor="ls")
    return picture
