"""The command line: ``catdcgan train``, ``sample``, ``draw``, ``download``, ``prepare`` and others."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from catdcgan import __version__
from catdcgan.data.dataset import Dataset
from catdcgan.data.download import download_photos
from catdcgan.data.drawn import draw_cats
from catdcgan.data.listing import REPORT
from catdcgan.data.prepare import prepare_photos
from catdcgan.errors import InputError
from catdcgan.evaluate.command import add_evaluate_command
from catdcgan.explore.directions_command import add_directions_command
from catdcgan.explore.lookalike_command import add_lookalike_command
from catdcgan.explore.model_options import model_options
from catdcgan.explore.sample_command import add_sample_command
from catdcgan.export.command import add_export_command
from catdcgan.files import FULL
from catdcgan.output import (
    check_folders,
    check_output,
    folder_name,
    new_path,
    picture_or_folder,
    write_pictures,
)
from catdcgan.run.checkpoint_files import NAME, existing_checkpoint, find_checkpoint, find_start
from catdcgan.run.folder import RunFolder, folder_of, newest_run, next_run
from catdcgan.run.record import changed_options, read_record
from catdcgan.run.summary import summarize
from catdcgan.run.workers import add_worker_options, check_batch_size, chosen_workers
from catdcgan.screen import forgiving, printable, say
from catdcgan.settings import (
    DRAWN,
    FIXED,
    LARGEST_SEED,
    LARGEST_SIZE,
    RECIPES,
    Settings,
    add_settings,
    from_record,
    part_of,
    recipe_options,
    settings_from,
    some_path,
    whole,
)

# Modules that need TensorFlow are imported in the commands that use them: --help and usage errors are fast.

MOST_PAINTED = 100_000  # pictures; all of them are in memory at once
FEW = 100  # pictures; docs/few-pictures.md shows what fewer give


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit status: 0 for success, even if nobody could be told; 1 for unusable input, which a line on stderr
        explains; 130 if interrupted. Wrong usage exits with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names that the terminal cannot show are printed with escapes: their files are written by then.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    with redirect_stdout(forgiving(sys.stdout)), redirect_stderr(forgiving(sys.stderr)):
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line, once both streams accept any text."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: tqdm.write(_message(f"warning: {text}"), sys.stderr)
            if options.run is _train:
                options = parser(_train_defaults(options)).parse_args(arguments)
                options.typed = sys.argv[1:] if arguments is None else arguments
            options.run(options)
    except (InputError, OSError) as error:
        print(_message(_explained(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("catdcgan: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        # TensorFlow's error is told by its name, because TensorFlow need not be loaded.
        if not isinstance(error, MemoryError) and type(error).__name__ != "ResourceExhaustedError":
            raise
        reason = f"{error}".partition("\n")[0]
        print(_message(f"out of memory ({reason}): use fewer or smaller pictures"), file=sys.stderr)
        return 1
    return 0


def _explained(error: InputError | OSError) -> str:
    """An error's text; the system's own errors are put in words that say what to do."""
    match error:
        case FileNotFoundError(filename=str() | bytes() as name):
            return f"{os.fsdecode(name)}: no such file or folder"
        case IsADirectoryError(filename=str() | bytes() as name):
            return f"{os.fsdecode(name)} is a folder: name a file"
        case OSError(errno=int(number)) if number in FULL:
            return f"{error}: make room"
    return f"{error}"


def _message(text: str) -> str:
    return f"catdcgan: {printable(text)}"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are printable: they repeat what was typed, or a file's name from the shell."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells an option's default, unless there is none or the text has told it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = "(default:" in (action.help or "")
        none = action.default in (None, ()) or action.default is False
        return action.help if told or none else super()._get_help_string(action)


def _train_defaults(options: argparse.Namespace) -> Mapping[str, object]:
    """Settings for `train` that the user does not give: those of the recipe or, on a resume, of the run.

    Raises:
        RunError: there is no run to resume, or its record is damaged.
        InputError: the run's pictures are no longer where they were.
    """
    given = vars(options)
    recipe = RECIPES[given.get("recipe", "article")]
    if options.start_from and options.resume:
        options.refuse("--start-from is for a new run: a resumed one has its own weights")
    if options.start_from:
        existing_checkpoint(options.start_from)

        from catdcgan.run.start_from import settings_of

        return recipe | settings_of(options.start_from)
    if not options.resume:
        return recipe
    out: Path = given.get("out") or newest_run()
    file = folder_of(out).record
    record = read_record(file)
    if record is None:
        return {**recipe, "out": out}
    if "recipe" in given:
        warnings.warn(f"--recipe is for a new run: settings come from {file}", stacklevel=2)
    settings = from_record(record["options"])
    data, held_out = settings.get("data_source"), settings.get("held_out")
    if data and data != DRAWN and options.data_source is None and not Path(data).is_dir():
        raise InputError(
            f"the pictures of {out} were in {data}, which no longer exists: give their folder with --data"
        )
    if held_out and not part_of(held_out) and options.held_out is None and not Path(held_out).is_dir():
        raise InputError(
            f"the pictures that {out} holds out were in {held_out}, which no longer exists: give their "
            "folder with --held-out, or --held-out none"
        )
    painted = record["data"]["images"] + record["data"].get("put_aside", 0)
    # None instead of "", what --held-out none leaves: argparse would parse a text again.
    return {**settings, "held_out": held_out or None, "drawn_count": painted, "out": out}


def parser(train_defaults: Mapping[str, object] = RECIPES["article"]) -> argparse.ArgumentParser:
    """Build the parser of all commands; `train_defaults` override the defaults of `train`."""
    main_parser = _Parser("catdcgan", description="Train a DCGAN to generate cats, and look at them.")
    main_parser.add_argument("--version", action="version", version=__version__)
    commands = main_parser.add_subparsers(required=True, metavar="COMMAND")
    add_parser = partial(commands.add_parser, formatter_class=_HelpFormatter)
    unset = argparse.SUPPRESS
    number: dict[str, Any] = {"metavar": "N"}
    seed = {
        "type": whole(0, LARGEST_SEED),
        "default": 0,
        "help": "the same seed gives the same cats",
        **number,
    }
    size = {"default": 128, "help": "side of the pictures in pixels", **number}

    text = "Train on a folder of pictures. Ctrl-C saves and stops; --resume continues, even after a crash. "
    text += "OUT gets settings (run.json), losses (history.jsonl), models/, images/ and TensorBoard's files."
    command = add_parser("train", help="train on pictures", description=text)
    add = command.add_argument
    text = "folder of the run (default: runs/001, runs/002 and so on; with --resume the last of them)"
    add("--out", type=folder_name, default=train_defaults.get("out", unset), metavar="FOLDER", help=text)
    text = "continue the run in OUT, keeping its settings except those you give"
    add("--resume", action="store_true", help=text)
    text = "settings that go together; your options override them (default: article). better: "
    text += recipe_options("better")
    add("--recipe", choices=RECIPES, default=unset, help=text)
    add_settings(command, train_defaults)
    # The earlier form of --mixed-precision off.
    off: dict[str, Any] = {"action": "store_const", "const": False, "default": unset, "help": unset}
    add("--no-mixed-precision", dest="mixed_precision", **off)
    add_worker_options(command)
    add("--quiet", action="store_true", help="show no progress")
    painted = train_defaults.get("drawn_count", 4000)
    text = "how many cats --data drawn paints"
    add("--drawn-count", type=whole(1, MOST_PAINTED), default=painted, help=text, **number)
    command.set_defaults(run=_train, refuse=command.error)

    add_sample_command(add_parser)
    add_directions_command(add_parser)
    add_lookalike_command(add_parser)
    add_evaluate_command(add_parser)
    add_export_command(add_parser)

    text = "Paint cartoon cats, no two alike: pictures to train on without a download."
    command = add_parser("draw", help="paint cats with Pillow, to train on", description=text)
    add = command.add_argument
    add("--count", type=whole(1, MOST_PAINTED), default=64, help="how many pictures", **number)
    add("--size", type=whole(16, LARGEST_SIZE), **size)
    add("--seed", **seed)
    text = "a picture's name (.png, .jpg, ...) makes one grid, a folder single PNGs"
    add("--out", type=picture_or_folder, required=True, metavar="PATH", help=text)
    command.set_defaults(run=_draw)

    text = "Download the CAT dataset from Kaggle, or a zip of photos from a URL. An interrupted download "
    text += "continues when the same command runs again."
    command = add_parser("download", help="download photos to train on", description=text)
    add = command.add_argument
    text = "https, http or file; without it, Kaggle (needs pip install -e '.[kaggle]')"
    add("url", nargs="?", metavar="URL", help=text)
    text = "folder or .zip file, for a URL (default: data)"
    add("--out", type=new_path, default=unset, metavar="PATH", help=text)
    add("--sha256", default=unset, metavar="HEX", help="checksum that the file must have, for a URL")
    command.set_defaults(run=_download, refuse=command.error)

    text = "Make square pictures to train on. From the CAT dataset, unpacked or zipped: the faces, "
    text += "straightened. From any other photos: their centre squares. Running it again continues."
    command = add_parser("prepare", help="cut square faces out of photos", description=text)
    add = command.add_argument
    add("source", type=some_path, metavar="SOURCE", help="folder or zip of photos")
    text = "folder of the pictures and of report.json"
    add("--out", required=True, type=folder_name, metavar="FOLDER", help=text)
    add("--size", type=whole(1, LARGEST_SIZE), **size)
    add("--keep-outliers", action="store_true", help="keep the CAT dataset's drawings and blocked faces")
    command.set_defaults(run=_prepare)
    return main_parser


def _train(options: argparse.Namespace) -> None:
    settings, workers = settings_from(vars(options)), chosen_workers(options)
    out: Path | None = vars(options).get("out")
    if settings.data_source is None and not options.resume:
        options.refuse("the following arguments are required: --data")
    workers.check(settings.batch_size)
    check_batch_size(settings.batch_size, options.devices)
    if settings.held_out and max(workers.size, options.devices) > 1:
        raise InputError("--held-out works in a single process: train in one, or give --held-out none")
    if out and workers.leads:
        _check_run(folder_of(out), settings, options.resume)
    if settings.start_from and not options.resume:
        from catdcgan.run.start_from import refuse_contradiction

        refuse_contradiction(settings)
    if settings.data_source is None:
        raise InputError(f"{out} has no record of where its pictures are: name their folder with --data")
    if options.devices > 1:
        from catdcgan.parallel.devices import train_on_devices

        raise SystemExit(train_on_devices(options.devices, options.typed, options.step_limit))
    if workers.size > 1 and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2") == "2":
        # One error is enough: TensorFlow, which is not loaded yet, would log ten lines before it.
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    options.quiet = options.quiet or not workers.leads
    dataset, held_out = _read_pictures(settings, options)
    settings = _with_absolute_paths(settings)
    numbered = workers.leads and out is None
    out = next_run() if numbered else out
    if not options.quiet:
        print(printable(f"Training on {len(dataset.images)} images in {out}"), file=sys.stderr)

    from catdcgan.run.start import TrainingData
    from catdcgan.training import run_training

    folder = folder_of(out or Path())  # only worker 0 writes
    get_batches = partial(dataset.get_batches, scale=False)  # the graph scales them
    put_aside = len(held_out) if held_out is not None and part_of(settings.held_out) else 0
    data = TrainingData(get_batches, dataset.shape, dataset.fingerprint(), held_out, put_aside)
    try:
        run_training(
            settings, data, folder, options.resume, event_files=True, quiet=options.quiet, workers=workers
        )
    except (KeyboardInterrupt, SystemExit):
        # Without a history, training had not begun: building the graph takes seconds.
        if workers.leads and folder.history.exists():
            again = shlex.join(["catdcgan", "train", "--resume", f"--out={out}"])
            say(f"Continue with: {again}" + (workers.size > 1) * ", and the same --devices or --workers")
            summarize(folder, settings.image_size)
        raise
    finally:
        if numbered and out:
            with suppress(OSError):  # there is something in it, unless training was refused
                out.rmdir()
    if not workers.leads:
        return
    summarize(folder, settings.image_size)
    say(f"Training is done. See {folder.images}, and generate cats with")
    how = model_options(settings.z_distribution, settings.alpha)
    say(shlex.join(["catdcgan", "sample", f"--checkpoint={folder.models / NAME}", *how]))


def _with_absolute_paths(settings: Settings) -> Settings:
    """The settings for run.json, whose paths must mean the same from any folder."""
    paths: dict[str, Any] = {}
    if settings.data_source and settings.data_source != DRAWN:
        paths["data_source"] = os.path.abspath(settings.data_source)
    if settings.held_out and not part_of(settings.held_out):
        paths["held_out"] = os.path.abspath(settings.held_out)
    if settings.start_from:
        paths["start_from"] = os.path.abspath(find_checkpoint(settings.start_from))
    return replace(settings, **paths)


def _check_run(folder: RunFolder, settings: Settings, resume: bool) -> None:
    """Refuse a run that cannot use its folder, before pictures are read and TensorFlow is loaded."""
    find_start(folder.models, resume)
    check_folders(folder.models, folder.images)
    data, run = settings.data_source or DRAWN, [os.path.realpath(path) for path in folder]
    if data != DRAWN and os.path.realpath(data) in run:
        raise InputError(
            f"the run would write into {data}, the folder of its own pictures: choose another --out, "
            "or leave it out"
        )
    if resume:
        changed_options(folder.record, {name: getattr(settings, name) for name in FIXED}, data={})


def _read_pictures(settings: Settings, options: argparse.Namespace) -> tuple[Dataset, np.ndarray | None]:
    """The pictures to train on, and those of --held-out, if any."""
    data, other = str(settings.data_source), settings.held_out
    size, seed, mode, quiet = settings.image_size, settings.seed, settings.image_mode, options.quiet
    part, held_out = part_of(other), None
    if other and not part and data != DRAWN:
        folders = [Path(os.path.realpath(folder)) for folder in (data, other)]
        if any(one == two or one in two.parents for one, two in (folders, folders[::-1])):
            raise InputError(f"--held-out {other} and --data {data} share pictures: keep them apart")
    if data == DRAWN:
        dataset = Dataset.from_array(draw_cats(options.drawn_count, size, seed, mode, not quiet), seed)
    else:
        dataset = Dataset(data, size, mode, seed, quiet=quiet)
    if other:
        held_out = dataset.put_aside(part) if part else Dataset(other, size, mode, quiet=quiet).images
    count = len(dataset.images)
    if data != DRAWN and count < FEW and not options.resume:
        warnings.warn(
            f"too few pictures ({count}): the discriminator will know them by heart, and the generator "
            "learn little. Give hundreds, better a few thousand of one kind; see docs/few-pictures.md",
            stacklevel=2,
        )
    return dataset, held_out


def _draw(options: argparse.Namespace) -> None:
    check_output(options.out, options.count, options.size)
    write_pictures(
        draw_cats(options.count, options.size, options.seed, progress=True), range(options.count), options.out
    )


def _download(options: argparse.Namespace) -> None:
    given = vars(options)
    for name in ("out", "sha256"):
        if name in given and options.url is None:
            options.refuse(f"--{name} is for a URL; kagglehub has a folder of its own")
    path = download_photos(options.url, given.get("out", Path("data")), given.get("sha256"))
    if options.url:  # kagglehub's folder has been printed already
        say(f"{path}")


def _prepare(options: argparse.Namespace) -> None:
    report = prepare_photos(options.source, options.out, options.size, options.keep_outliers)
    text = f"{report.summary()}. Names and reasons: {options.out / REPORT}"
    if not report.written | report.already_there:
        raise InputError(text)
    say(text)
