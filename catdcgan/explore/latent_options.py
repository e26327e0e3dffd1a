"""The options of ``catdcgan sample`` for latents: reading and writing them, and turning knobs."""

from __future__ import annotations

import argparse

import numpy as np

from catdcgan.errors import InputError
from catdcgan.explore.model_options import typed_model_options
from catdcgan.latents import read_latents, save_latents, shift_latents
from catdcgan.output import MOST_SAMPLED, check_file, file_name
from catdcgan.screen import say
from catdcgan.settings import parse_number


def add_latent_options(command: argparse.ArgumentParser) -> None:
    """Add --set, --directions, --latents and --save-latents to a parser."""
    add, unset = command.add_argument, argparse.SUPPRESS
    text = "turn a knob of the cats, such as --set coat=1.5 --set eyes=-1; a wrong name lists them all"
    add("--set", type=_amount, action="append", default=unset, metavar="NAME=X", help=text)
    text = "the knobs' file (default: directions.npz beside the checkpoint)"
    add("--directions", type=file_name(".npz"), default=unset, metavar="FILE", help=text)
    text = "take the latents from .npy files (n, z_dim), one after the other, in place of those of --seed"
    add("--latents", type=file_name(".npy"), nargs="+", default=unset, metavar="FILE", help=text)
    text = "write the latents of the pictures, float32 (n, z_dim), to a .npy file"
    add("--save-latents", type=file_name(".npy"), default=unset, metavar="FILE", help=text)


def _amount(text: str) -> tuple[str, float]:
    """Parse the name of a knob and how far to turn it, such as coat=1.5."""
    name, equals, number = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, such as coat=1.5")
    return name, parse_number(float, number)


def check_latent_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together, and a file of --save-latents that cannot be written.

    Raises:
        InputError: as in `check_file`.
    """
    given = vars(options)
    if "directions" in given and "set" not in given:
        options.refuse("--directions needs --set")
    turned = [name for name, _ in given.get("set", [])]
    if twice := [name for name in turned if turned.count(name) > 1]:
        options.refuse(f"--set: {twice[0]} is given twice")
    for name in ("count", "seed", "truncate"):
        if name in given and "latents" in given:
            options.refuse(f"--{name} is for random latents: it cannot be combined with --latents")
    if "save_latents" in given:
        check_file(options.save_latents)


def given_latents(options: argparse.Namespace) -> np.ndarray | None:
    """Read the latents of --latents: float32 (n, z_dim), or None if random ones are wanted.

    Raises:
        InputError, OSError: as in `read_latents`; or there are too many, or a number does not fit --z.
    """
    files = vars(options).get("latents")
    if files is None:
        return None
    parts = [read_latents(files[0])]
    parts += [read_latents(file, parts[0].shape[1]) for file in files[1:]]
    z = np.concatenate(parts)
    names = ", ".join(map(str, files))
    if len(z) > MOST_SAMPLED:
        raise InputError(f"{names} hold {len(z):,} latents: {MOST_SAMPLED:,} are the most")
    largest = float(np.abs(z).max())
    if options.z == "uniform" and largest > 1:
        raise InputError(
            f"{names} hold numbers up to {largest:.3g}: uniform latents are in [-1, 1], give --z normal"
        )
    return z


def turn_knobs(options: argparse.Namespace, z: np.ndarray, z_dim: int) -> np.ndarray:
    """Apply --set to latents (n, z_dim).

    Raises:
        InputError: the latents do not fit the model, or as in `read_directions` and `direction_step`.
    """
    if z.shape[1] != z_dim:
        raise InputError(
            f"{', '.join(map(str, options.latents))}: latents of {z.shape[1]} numbers, and the model "
            f"{options.checkpoint} takes {z_dim}"
        )
    given = vars(options)
    if "set" not in given:
        return z

    from catdcgan.explore.directions import direction_step, read_directions

    how = typed_model_options(options)
    directions = read_directions(options.checkpoint, given.get("directions"), how)
    return shift_latents(z, direction_step(directions, dict(options.set)), options.z)


def save_given_latents(options: argparse.Namespace, z: np.ndarray) -> None:
    """Write the latents of the pictures (n, z_dim) if --save-latents is given.

    Raises:
        OSError: as in `save_latents`.
    """
    if file := vars(options).get("save_latents"):
        save_latents(z, file)
        say(f"{len(z)} latent{'s' * (len(z) > 1)} in {file}")
