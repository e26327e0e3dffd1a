"""The command ``catdcgan export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from catdcgan.explore.model_options import add_model_options, trained_with, typed_model_options
from catdcgan.output import check_file, check_folders, file_name, new_path
from catdcgan.run.checkpoint_files import existing_checkpoint
from catdcgan.screen import say
from catdcgan.settings import Z_DISTRIBUTIONS

TEXT = """Write a generator as a file for other programs: as a SavedModel for TensorFlow 2 and TensorFlow
Serving, as an ONNX file (needs catdcgan[onnx]), or as a web page to play with, one file that needs no other.
docs/knobs-and-exports.md and docs/page.md show how to use them."""
SUFFIXES = {"onnx": ".onnx", "page": ".html"}  # a SavedModel is a folder


def add_export_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    text = "write a trained model for other programs, or as a web page"
    command = add_parser("export", help=text, description=TEXT)
    add, unset = command.add_argument, argparse.SUPPRESS
    add("--to", required=True, choices=("savedmodel", "onnx", "page"), help="the format")
    text = "the folder to write the SavedModel into, as FOLDER/1; or the .onnx or .html file"
    add("--out", required=True, type=new_path, metavar="PATH", help=text)
    add("--half", action="store_true", help="ONNX in half the size: the kernels in half floats")
    text = "the page's knobs (default: directions.npz beside the checkpoint, if it exists)"
    add("--directions", type=file_name(".npz"), default=unset, metavar="FILE", help=text)
    text = "for the page: distribution of the latents that the model was trained with (default: uniform)"
    add("--z", choices=Z_DISTRIBUTIONS, default=unset, help=text)
    add_model_options(command, latents=False)
    command.set_defaults(run=_export, refuse=command.error)


def _export(options: argparse.Namespace) -> None:
    out, to = options.out, options.to
    _check_options(options)
    existing_checkpoint(options.checkpoint)
    if to in SUFFIXES:
        check_file(out)
    else:
        check_folders(out)
    trained = trained_with(options)
    if to == "onnx":
        from catdcgan.export.onnx import export_onnx

        export_onnx(options.checkpoint, out, options.half, **trained)
        written = f"ONNX in {out}"
    elif to == "page":
        written = f"a page in {_export_page(options, trained)}"
    else:
        from catdcgan.export.savedmodel import export_savedmodel

        written = f"a SavedModel in {export_savedmodel(options.checkpoint, out, **trained)}"
    say(f"{options.checkpoint} as {written}")


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together: wrong usage."""
    given, out, to = vars(options), options.out, options.to
    if to in SUFFIXES and out.suffix.lower() != SUFFIXES[to]:
        options.refuse(f"--to {to}: --out must end in {SUFFIXES[to]}, not {out}")
    if to not in SUFFIXES and out.suffix.lower() in SUFFIXES.values():
        options.refuse(f"--to {to} writes a folder: {out} looks like a file")
    if options.half and to != "onnx":
        options.refuse("--half is for --to onnx")
    for name in ("directions", "z"):
        if name in given and to != "page":
            options.refuse(f"--{name} is for --to page")


def _export_page(options: argparse.Namespace, trained: dict[str, float]) -> str:
    """Write the page, and say where it is and with which knobs."""
    from catdcgan.explore.directions import directions_file, read_directions
    from catdcgan.export.page import export_page

    given = vars(options)
    file = given.get("directions", directions_file(options.checkpoint))
    directions = None
    if "directions" in given or file.exists():  # a file that was named must exist; the default one need not
        directions = read_directions(options.checkpoint, file, typed_model_options(options))
    z_distribution = given.get("z", "uniform")
    export_page(options.checkpoint, options.out, directions, **trained, z_distribution=z_distribution)
    size = options.out.stat().st_size / 1e6
    knobs = (
        f"with {len(directions.names)} knobs"
        if directions
        else "without knobs (make some: catdcgan directions)"
    )
    return f"{options.out}, {size:.1f} MB, {knobs}"
