"""The command ``catdcgan export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from catdcgan.errors import InputError
from catdcgan.output import check_folders, new_path
from catdcgan.run.checkpoint_files import existing_checkpoint
from catdcgan.screen import say
from catdcgan.settings import add_model_options

TEXT = """Write a generator as a file for other programs: as a SavedModel for TensorFlow 2 and TensorFlow
Serving, or as an ONNX file (needs catdcgan[onnx]). docs/knobs-and-exports.md shows how to use them."""


def add_export_command(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of the program."""
    help_formatter = argparse.ArgumentDefaultsHelpFormatter
    text = "write a trained model for other programs"
    command = add_parser("export", help=text, description=TEXT, formatter_class=help_formatter)
    add = command.add_argument
    add("--to", required=True, choices=("savedmodel", "onnx"), help="the format")
    text = "the folder to write the SavedModel into, as FOLDER/1; or the .onnx file"
    add("--out", required=True, type=new_path, metavar="PATH", help=text)
    add("--half", action="store_true", help="ONNX in half the size: the kernels in half floats")
    add_model_options(command, latents=False)
    command.set_defaults(run=_export, refuse=command.error)


def _export(options: argparse.Namespace) -> None:
    out, onnx = options.out, options.to == "onnx"
    if onnx and out.suffix.lower() != ".onnx":
        options.refuse(f"--to onnx: --out must end in .onnx, not {out}")
    if options.half and not onnx:
        options.refuse("--half is for --to onnx")
    if not onnx and out.suffix.lower() == ".onnx":
        options.refuse(f"--to savedmodel writes a folder: {out} looks like a file")
    existing_checkpoint(options.checkpoint)
    check_folders(out.parent if onnx else out)
    if onnx and out.is_dir():
        raise InputError(f"{out} is a folder: name a file")
    pixel_range = 0.5 if options.half_range else 1.0
    if onnx:
        from catdcgan.export.onnx import export_onnx

        export_onnx(options.checkpoint, out, options.half, pixel_range, options.alpha)
    else:
        from catdcgan.export.savedmodel import export_savedmodel

        out = export_savedmodel(options.checkpoint, out, pixel_range, options.alpha)
    say(f"{options.checkpoint} as {'ONNX' if onnx else 'a SavedModel'} in {out}")
