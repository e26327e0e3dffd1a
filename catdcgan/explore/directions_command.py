"""The command ``catdcgan directions``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from catdcgan.explore.model_options import add_model_options, trained_with
from catdcgan.output import check_file, file_name, picture_name
from catdcgan.run.checkpoint_files import existing_checkpoint
from catdcgan.screen import say

SHOWN = 2  # cats in the picture: the first of seed 0

TEXT = """Find the knobs of a trained model: directions among its latents that change one property of its
cats each, from dark to light coats, from narrow to round eyes. Turn them with catdcgan sample --set coat=1.5.
The faces must lie as catdcgan prepare cuts them. For pictures of anything else: --unsupervised."""


def add_directions_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    text = "find the knobs of a trained model"
    command = add_parser("directions", help=text, description=TEXT)
    add, unset = command.add_argument, argparse.SUPPRESS
    text = "the knobs' file (default: directions.npz beside the checkpoint, where sample --set looks)"
    add("--out", type=file_name(".npz"), default=unset, metavar="FILE", help=text)
    text = "a picture of what they do to the first two cats (default: --out with .png)"
    add("--picture", type=picture_name, default=unset, metavar="FILE", help=text)
    text = "numbered directions, for pictures of anything; what they change is for you to see"
    add("--unsupervised", action="store_true", help=text)
    add_model_options(command)
    command.set_defaults(run=_directions)


def _directions(options: argparse.Namespace) -> None:
    given = vars(options)
    existing_checkpoint(options.checkpoint)

    from catdcgan.explore import directions as knobs
    from catdcgan.images import save_image
    from catdcgan.latents import random_latents

    out: Path = given.get("out", knobs.directions_file(options.checkpoint))
    picture: Path = given.get("picture", out.with_suffix(".png"))
    check_file(out)
    check_file(picture)
    trained = trained_with(options)
    if options.unsupervised:
        found = knobs.find_numbered_directions(options.checkpoint, options.z)
        kind = "share of the first layer's power"
    else:
        found = knobs.find_directions(options.checkpoint, **trained, z_distribution=options.z)
        kind = "R2, the share of each property that the latents predict"
    z = random_latents(SHOWN, found.vectors.shape[1], 0, options.z)
    shown = knobs.directions_picture(options.checkpoint, found, z, **trained, z_distribution=options.z)
    save_image(shown, picture)
    knobs.save_directions(found, out)
    fits = ", ".join(f"{name} {fit:.2f}" for name, fit in zip(found.names, found.fit, strict=True))
    say(f"{len(found.names)} directions in {out}, shown in {picture}. {kind}: {fits}")
