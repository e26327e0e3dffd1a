"""The command ``catdcgan sample``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from catdcgan.animation import ANIMATION_SUFFIXES, save_animation
from catdcgan.explore.latent_options import (
    add_latent_options,
    check_latent_options,
    given_latents,
    save_given_latents,
    turn_knobs,
)
from catdcgan.explore.model_options import add_model_options, trained_with
from catdcgan.images import enlarge, image_grid
from catdcgan.output import (
    MOST_SAMPLED,
    check_file,
    check_output,
    columns_and_rows,
    is_picture_name,
    picture_or_folder,
    write_pictures,
)
from catdcgan.run.checkpoint_files import existing_checkpoint
from catdcgan.screen import say
from catdcgan.settings import LARGEST_SEED, positive, whole

# Modules that need TensorFlow are imported where they are used: usage errors are fast.

COUNT = 64  # cats, unless the options say how many
MOST_SCALED = 8  # times
MOST_FRAMES = 10_000  # from one cat to the next
WALK_FRAMES, WALK_MILLISECONDS = 30, 70  # about two seconds from one cat to the next


def add_sample_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    text = "Generate cats with the generator in a checkpoint: a grid, single pictures or an animation."
    command = add_parser("sample", help="generate cats with a trained model", description=text)
    add, shape = command.add_argument, command.add_mutually_exclusive_group()
    unset = argparse.SUPPRESS
    number: dict[str, Any] = {"metavar": "N"}
    text = f"how many cats (default: {COUNT})"
    shape.add_argument("--count", type=whole(1, MOST_SAMPLED), default=unset, help=text, **number)
    text = "fill a grid of this shape, such as 8x4 (default: as close to square as possible)"
    shape.add_argument("--grid", type=columns_and_rows, default=unset, metavar="COLUMNSxROWS", help=text)
    text = "only the cats with these numbers; the first of a seed is 0 (default: all)"
    shape.add_argument(
        "--pick", type=whole(0, MOST_SAMPLED - 1), nargs="+", default=unset, help=text, **number
    )
    text = "the same seed gives the same cats (default: 0)"
    add("--seed", type=whole(0, LARGEST_SEED), default=unset, help=text, **number)
    add("--scale", type=whole(1, MOST_SCALED), default=1, help="enlarge the cats N times (Lanczos)", **number)
    text = "keep the numbers of the latents within [-T, T]: cats differ less, and fewer go wrong "
    text += "(default: all that the model was trained with, such as [-1, 1])"
    add("--truncate", type=positive, default=unset, metavar="T", help=text)
    text = (
        "make an animation that turns cat A into cat B, and so on, and back into A; in the grid, the first "
    )
    text += "cat is 0 (default: none)"
    add("--walk", type=whole(0), nargs="+", default=unset, metavar=("A", "B"), help=text)
    text = f"frames from one cat to the next, with --walk (default: {WALK_FRAMES})"
    add("--frames", type=whole(1, MOST_FRAMES), default=unset, help=text, **number)
    text = "a picture's name (.png, .jpg, ...) makes one grid, a folder single PNGs, .gif or .webp the "
    text += "animation of --walk (default: cats.png, with --walk cats.gif)"
    add("--out", type=picture_or_folder, default=unset, metavar="PATH", help=text)
    add_latent_options(command)
    add_model_options(command)
    command.set_defaults(run=_sample, refuse=command.error)


def _sample(options: argparse.Namespace) -> None:
    given = vars(options)
    columns, rows = given.get("grid", (None, None))
    walk: list[int] = given.get("walk", [])
    pick: list[int] = given.get("pick", [])
    check_latent_options(options)
    stored = given_latents(options)
    wanted = columns * rows if columns else max(pick) + 1 if pick else given.get("count", COUNT)
    count = wanted if stored is None else len(stored)
    out: Path = given.get("out", Path("cats.gif" if walk else "cats.png"))
    _check_options(options, out, count)
    if columns and wanted != count:
        options.refuse(f"--grid: {columns}x{rows} is a grid of {wanted}, and --latents has {count} latents")
    existing_checkpoint(options.checkpoint)
    if walk:
        check_file(out)

    from catdcgan.latents import random_latents, round_walk
    from catdcgan.run.checkpoint import read_architecture
    from catdcgan.sampling import sample_one_by_one

    model = read_architecture(options.checkpoint)
    if not walk:
        shown = len(pick) if pick and is_picture_name(out) else count
        check_output(out, shown, model.image_size * options.scale, columns)
    if stored is None:
        seed, truncate = given.get("seed", 0), given.get("truncate")
        stored = random_latents(count, model.z_dim, seed, options.z, truncate)
    z = turn_knobs(options, stored, model.z_dim)
    if walk:
        z = round_walk(z[walk], given.get("frames", WALK_FRAMES))
    if pick:
        z = z[pick]
    images = sample_one_by_one(options.checkpoint, z, **trained_with(options))
    if options.scale > 1:
        images = (enlarge(image, options.scale) for image in images)
    if walk:
        bar = tqdm(images, "cats", total=len(z), unit=" images", delay=2)
        save_animation((image_grid(image[None]) for image in bar), out, WALK_MILLISECONDS)
        say(f"{len(z)} frames in {out}")
    else:
        write_pictures(images, pick or range(count), out, columns)
    save_given_latents(options, z)


def _check_options(options: argparse.Namespace, out: Path, count: int) -> None:
    """Refuse options that do not go together, or not with `count` cats in `out`: wrong usage."""
    given, refuse = vars(options), options.refuse
    walk, pick = given.get("walk", []), given.get("pick", [])
    of, which = " of --latents" * ("latents" in given), f"which are 0 to {count - 1}"
    if len(walk) == 1:
        refuse("--walk: name at least two cats")
    if walk and max(walk) >= count:
        refuse(f"--walk: no cat {max(walk)} among {count}{of}, {which}" + ": raise --count" * (not of))
    if walk and out.suffix.lower() not in ANIMATION_SUFFIXES:
        refuse(f"--walk makes an animation: --out must end in .gif or .webp, not {out}")
    if "grid" in given and (walk or not is_picture_name(out)):
        refuse("--grid shapes a single picture: it cannot be combined with --walk or a folder")
    if pick and walk:
        refuse("--pick is for pictures: it cannot be combined with --walk, which names its own cats")
    if pick and max(pick) >= count:
        refuse(f"--pick: no cat {max(pick)} among {count}{of}, {which}")
    if "frames" in given and not walk:
        refuse("--frames needs --walk")
    truncate = given.get("truncate", 0)
    if truncate > 1 and options.z == "uniform":
        refuse(f"--truncate: {truncate} is above 1, the limit of uniform latents")
