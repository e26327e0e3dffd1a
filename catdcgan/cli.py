"""The command line: ``catdcgan train``, ``sample``, ``draw``, ``download`` and ``prepare``."""

from __future__ import annotations

import argparse
import io
import mimetypes
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan import __version__
from catdcgan.checkpoint import find_start, read_architecture
from catdcgan.data import Dataset
from catdcgan.download import download
from catdcgan.drawn import draw_cats
from catdcgan.errors import InputError
from catdcgan.files import whole_or_nothing
from catdcgan.history import HISTORY_NAME, read_losses
from catdcgan.images import (
    ANIMATION_SUFFIXES,
    PICTURE_SUFFIXES,
    check_grid,
    image_grid,
    plot_losses,
    save_animation,
    save_image,
    training_strip,
)
from catdcgan.prepare import REPORT, prepare
from catdcgan.run import RUN_NAME, changed_options, newest_run, next_run, read_record
from catdcgan.screen import screen
from catdcgan.settings import (
    DRAWN,
    FIXED,
    LARGEST_SEED,
    LARGEST_SIZE,
    RECIPES,
    Settings,
    add_settings,
    fraction,
    from_record,
    parse_number,
    positive,
    settings_from,
    whole,
)

# What needs TensorFlow is imported in the command that uses it: --help and wrong usage answer without it.

MOST_SAMPLED = 1_000_000  # pictures
MOST_DRAWN = 100_000  # pictures; these are in memory together
MOST_FRAMES = 10_000  # from one cat to the next

OTHER_FILES = (".ckpt", ".mkv", ".npy", ".npz", ".pkl", ".pt", ".pth")  # unknown to Python and to Pillow
ANIMATION_FRAMES = 100  # at most; more make the file large and the film long
WALK_FRAMES, WALK_MILLISECONDS = 30, 70  # some two seconds from one cat to the next


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        Exit status: 0 done; 1 something given cannot be used, as a line on stderr says; 130 interrupted.
        Wrong usage exits with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show is shown with escapes: its file is written by then.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    with redirect_stderr(screen()):
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    """What `main` does once both streams take any text."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: tqdm.write(f"catdcgan: warning: {text}", sys.stderr)
            if options.run is _train:
                options = _parser(_unnamed(options)).parse_args(arguments)
            options.run(options)
    except (InputError, OSError) as error:
        print(f"catdcgan: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"catdcgan: out of memory ({error}): take fewer pictures, or smaller ones", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("catdcgan: interrupted", file=sys.stderr)
        return 130
    return 0


def _unnamed(options: argparse.Namespace) -> Mapping[str, object]:
    """The settings of `train` that the user does not name: those of the recipe or, to resume, of the run.

    Raises:
        RunError: there is no run to resume, or its record is damaged.
        InputError: the run's pictures are no longer where they were.
    """
    recipe: str | None = vars(options).get("recipe")
    if not options.resume:
        return RECIPES[recipe or "article"]
    out: Path = vars(options).get("out") or newest_run()
    record = read_record(out / RUN_NAME)
    if record is None:
        return {**RECIPES[recipe or "article"], "out": out}
    if recipe:
        warnings.warn(f"--recipe is for a new run: settings come from {out / RUN_NAME}", stacklevel=2)
    data = record["options"].get("data_source")
    if data and data != DRAWN and options.data_source is None and not Path(data).is_dir():
        raise InputError(
            f"the pictures of {out} were in {data}, which is gone: name their folder with --data"
        )
    return {**from_record(record["options"]), "drawn_count": record["data"]["images"], "out": out}


def _parser(unnamed: Mapping[str, object] = RECIPES["article"]) -> argparse.ArgumentParser:
    """The parser of all commands; `unnamed` takes the place of the defaults of `train`."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser("catdcgan", description="Train a DCGAN to draw cats, and look at them.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "train",
        help="train on pictures",
        formatter_class=show_defaults,
        description="Train on a folder of pictures. Ctrl-C saves, --resume goes on from there, also after a "
        "crash. In OUT: settings (run.json), losses (history.jsonl), models/, images/ and event files for "
        "TensorBoard.",
    )
    add = command.add_argument
    add(
        "--out",
        type=_folder,
        default=unnamed.get("out", argparse.SUPPRESS),
        metavar="FOLDER",
        help="folder of the run (default: runs/001, runs/002 and so on; with --resume the last of them)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the run in OUT, with its settings but for those named",
    )
    add(
        "--recipe",
        choices=RECIPES,
        default=argparse.SUPPRESS,
        help="settings that go together; your options override them (default: article). better: "
        + " ".join(f"{name}={'no limit' if v is None else v}" for name, v in RECIPES["better"].items()),
    )
    add_settings(command, unnamed)
    add("--quiet", action="store_true", help="show no progress")
    add(
        "--drawn-count",
        type=whole(1, MOST_DRAWN),
        default=unnamed.get("drawn_count", 4000),
        metavar="N",
        help="how many cats --data drawn paints",
    )
    command.set_defaults(run=_train, refuse=command.error)

    command = commands.add_parser(
        "sample",
        help="draw cats with a trained model",
        formatter_class=show_defaults,
        description="Draw cats with the generator in a checkpoint: a grid, single pictures or an animation.",
    )
    add = command.add_argument
    add(
        "--checkpoint",
        default="models/model.ckpt",
        metavar="PATH",
        help="a checkpoint, or the folder of a run",
    )
    shape = command.add_mutually_exclusive_group()
    shape.add_argument(
        "--count",
        type=whole(1, MOST_SAMPLED),
        default=argparse.SUPPRESS,
        metavar="N",
        help="how many cats (default: 64)",
    )
    shape.add_argument(
        "--grid",
        type=_grid,
        default=argparse.SUPPRESS,
        metavar="COLUMNSxROWS",
        help="fill a grid of this shape, such as 8x4 (default: as near to a square as COUNT gets)",
    )
    add(
        "--seed",
        type=whole(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="the same seed gives the same cats",
    )
    add(
        "--truncate",
        type=positive,
        default=argparse.SUPPRESS,
        metavar="T",
        help="keep the numbers of the latents within [-T, T]: cats that differ less, of which fewer go wrong "
        "(default: all that the model was trained with, such as [-1, 1])",
    )
    add(
        "--walk",
        type=whole(0),
        nargs="+",
        default=argparse.SUPPRESS,
        metavar=("A", "B"),
        help="make an animation that turns cat A into cat B, and so on, and back into A; in the grid, the "
        "first cat is 0 (default: none)",
    )
    add(
        "--frames",
        type=whole(1, MOST_FRAMES),
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"of --walk, from one cat to the next (default: {WALK_FRAMES})",
    )
    add(
        "--out",
        type=_picture_or_folder,
        default=argparse.SUPPRESS,
        metavar="PATH",
        help="a picture's name (.png, .jpg, ...) makes one grid, a folder single PNGs, .gif or .webp the "
        "animation of --walk (default: cats.png, with --walk cats.gif)",
    )
    add(
        "--half-range",
        action="store_true",
        help="the model was trained on pixels in [-0.5, 0.5], as the article's author's was",
    )
    add("--alpha", type=fraction, default=0.2, metavar="A", help="as the model was trained with")
    add("--z", choices=("uniform", "normal"), default="uniform", help="as the model was trained with")
    command.set_defaults(run=_sample, refuse=command.error)

    command = commands.add_parser(
        "draw",
        help="draw cats with Pillow, to train on",
        formatter_class=show_defaults,
        description="Draw cartoon cats, no two alike: pictures to train on without a download.",
    )
    add = command.add_argument
    add("--count", type=whole(1, MOST_DRAWN), default=64, metavar="N", help="how many pictures")
    add(
        "--size",
        type=whole(16, LARGEST_SIZE),
        default=128,
        metavar="N",
        help="side of the pictures in pixels",
    )
    add(
        "--seed",
        type=whole(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="the same seed gives the same cats",
    )
    add(
        "--out",
        type=_picture_or_folder,
        required=True,
        metavar="PATH",
        help="a picture's name (.png, .jpg, ...) makes one grid, a folder single PNGs",
    )
    command.set_defaults(run=_draw)

    command = commands.add_parser(
        "download",
        help="download photos to train on",
        formatter_class=show_defaults,
        description="Download the CAT dataset from Kaggle, or a zip of photos from a URL. An interrupted "
        "download goes on when the same command runs again.",
    )
    add = command.add_argument
    add(
        "url",
        nargs="?",
        metavar="URL",
        help="https, http or file; without it, Kaggle (needs catdcgan[kaggle])",
    )
    add("--out", type=Path, default=Path("data"), metavar="PATH", help="folder or .zip file, for a URL")
    add("--sha256", metavar="HEX", help="checksum that the file must have, for a URL")
    command.set_defaults(run=_download)

    command = commands.add_parser(
        "prepare",
        help="cut square faces out of photos",
        formatter_class=show_defaults,
        description="Make square pictures to train on. From the CAT dataset, unpacked or zipped: the faces, "
        "straightened. From any other photos: their centre squares. Running it again goes on.",
    )
    add = command.add_argument
    add("source", metavar="SOURCE", help="folder or zip of photos")
    add(
        "--out",
        required=True,
        type=_folder,
        metavar="FOLDER",
        help="folder of the pictures and of report.json",
    )
    add(
        "--size",
        type=whole(1, LARGEST_SIZE),
        default=128,
        metavar="N",
        help="side of the pictures in pixels",
    )
    add("--keep-outliers", action="store_true", help="keep the CAT dataset's drawings and blocked faces")
    command.set_defaults(run=_prepare)
    return parser


def _train(options: argparse.Namespace) -> None:
    settings = settings_from(vars(options))
    out: Path | None = vars(options).get("out")
    if settings.data_source is None and not options.resume:
        options.refuse("the following arguments are required: --data")
    if out:
        _check_run(out, settings, options.resume)
    if settings.data_source is None:
        raise InputError(f"{out} has no record of where its pictures are: name their folder with --data")
    dataset = _read_data(settings, options)
    if settings.data_source != DRAWN:
        settings = replace(settings, data_source=os.path.abspath(settings.data_source))
    out = out or next_run()
    if not options.quiet:
        print(f"Training on {len(dataset.images)} images in {out}", file=sys.stderr)

    from catdcgan.train import train

    arguments = asdict(settings)
    del arguments["image_size"], arguments["image_mode"]
    try:
        losses, _ = train(
            get_batches=partial(dataset.get_batches, scale=False),  # the graph scales
            data_shape=dataset.shape,
            data_image_mode=dataset.image_mode,
            resume=options.resume,
            model_dir=out / "models",
            image_dir=out / "images",
            show_every_epochs=0,
            log_dir=out,
            event_files=True,
            data_fingerprint=dataset.fingerprint(),
            quiet=options.quiet,
            **arguments,
        )
    except (KeyboardInterrupt, SystemExit):
        # Without a history it had not begun: TensorFlow takes seconds to build the graph.
        if (out / HISTORY_NAME).exists():
            print(f"Go on with: {shlex.join(['catdcgan', 'train', '--resume', '--out', str(out)])}")
            _draw_run(out, settings.image_size)
        raise
    _draw_run(out, settings.image_size)
    print(f"{len(losses)} steps done: see {out / 'images'}, and draw with")
    z = [] if settings.z_distribution == "uniform" else ["--z", settings.z_distribution]
    print(shlex.join(["catdcgan", "sample", "--checkpoint", str(out / "models" / "model.ckpt"), *z]))


def _check_run(out: Path, settings: Settings, resume: bool) -> None:
    """Refuse what cannot be trained in a folder, before pictures are read and TensorFlow loads."""
    find_start(out / "models", resume)
    _check_folders(out / "models", out / "images")
    data = settings.data_source or DRAWN
    if data != DRAWN and Path(data).resolve() in {
        path.resolve() for path in (out, out / "images", out / "models")
    }:
        raise InputError(
            f"the run would write into the folder of its own pictures, {data}: choose another --out, or none"
        )
    if resume:
        changed_options(out / RUN_NAME, {name: getattr(settings, name) for name in FIXED}, data={})


def _read_data(settings: Settings, options: argparse.Namespace) -> Dataset:
    size, seed, mode = settings.image_size, settings.seed, settings.image_mode
    if settings.data_source == DRAWN:
        return Dataset.from_array(draw_cats(options.drawn_count, size, seed, mode, not options.quiet), seed)
    return Dataset(str(settings.data_source), size, mode, seed, quiet=options.quiet)


def _draw_run(out: Path, size: int) -> None:
    """Plot the losses of a run so far; join its sample grids to an animation, and some of them to a strip."""
    images = out / "images"
    losses = read_losses(out / HISTORY_NAME)
    samples = sorted(images.glob("step_*.png"))
    if losses:
        with whole_or_nothing(images / "losses.png") as file:
            plot_losses(losses).savefig(file)
    if samples:
        save_image(training_strip(samples, size), images / "training.png")
        save_animation(samples[:: 1 + len(samples) // ANIMATION_FRAMES], images / "training.gif")


def _sample(options: argparse.Namespace) -> None:
    given = vars(options)
    columns, rows = given.get("grid", (None, None))
    walk: list[int] = given.get("walk", [])
    truncate: float | None = given.get("truncate")
    count: int = columns * rows if columns else given.get("count", 64)
    out: Path = given.get("out", Path("cats.gif" if walk else "cats.png"))
    if len(walk) == 1:
        options.refuse("--walk: name at least two cats")
    if walk and max(walk) >= count:
        options.refuse(f"--walk: no cat {max(walk)} among {count}, which are 0 to {count - 1}: raise --count")
    if walk and out.suffix.lower() not in ANIMATION_SUFFIXES:
        options.refuse(f"--walk makes an animation: let --out end in .gif or .webp, not {out}")
    if columns and (walk or not _is_picture(out)):
        options.refuse("--grid is the shape of one picture: it goes with neither --walk nor a folder")
    if "frames" in given and not walk:
        options.refuse("--frames goes with --walk")
    if truncate and truncate > 1 and options.z == "uniform":
        options.refuse(f"--truncate: {truncate} is above 1, where uniform latents end")

    model = read_architecture(options.checkpoint)
    if not walk:
        _check_out(out, count, model.image_size, columns)

    from catdcgan.sample import random_latents, round_walk, sample_one_by_one

    z = random_latents(count, model.z_dim, options.seed, options.z, truncate)
    if walk:
        z = round_walk(z[walk], given.get("frames", WALK_FRAMES))
    pixel_range = 0.5 if options.half_range else 1.0
    images = sample_one_by_one(options.checkpoint, z, pixel_range, options.alpha)
    if walk:
        bar = tqdm(images, "cats", total=len(z), unit=" images", delay=2)
        save_animation((image_grid(image[None]) for image in bar), out, WALK_MILLISECONDS)
        print(f"{len(z)} frames in {out}")
    else:
        _write(images, count, out, columns)


def _draw(options: argparse.Namespace) -> None:
    _check_out(options.out, options.count, options.size)
    _write(draw_cats(options.count, options.size, options.seed, progress=True), options.count, options.out)


def _download(options: argparse.Namespace) -> None:
    path = download(options.url, options.out, options.sha256)
    if options.url:  # kagglehub's folder has been named already
        print(path)


def _prepare(options: argparse.Namespace) -> None:
    report = prepare(options.source, options.out, options.size, options.keep_outliers)
    print(f"{report.summary()}. Names and reasons: {options.out / REPORT}")


def _is_picture(path: Path) -> bool:
    """Whether a name ends as those of pictures do."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def _check_folders(*folders: Path) -> None:
    """Refuse folders that cannot be made, as there is a file in their place or in that of one above."""
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise InputError(f"{there} is a file: name a folder")


def _check_out(out: Path, count: int, size: int, columns: int | None = None) -> None:
    """Refuse what `_write` cannot write, before so many pictures of a size are drawn."""
    _check_folders(out.parent)
    if _is_picture(out):
        check_grid(out, count, size, columns)
        return
    if out.is_file():
        raise InputError(f"{out} is a file: name a folder for single pictures, or end it in .png for a grid")
    numbers = [int(file.stem[4:]) for file in out.glob("cat_*.png") if file.stem[4:].isdecimal()]
    if numbers and max(numbers) >= count:  # of an earlier call: who measures the folder would count them in
        raise InputError(f"{out} holds pictures up to {max(numbers)}: remove it, or name another folder")


def _write(images: Iterable[np.ndarray], count: int, out: Path, columns: int | None = None) -> None:
    """Write images (size, size, channels): a grid if `out` ends like a picture, else each as it comes."""
    images = tqdm(images, "cats", total=count, unit=" images", delay=2)
    if _is_picture(out):
        save_image(image_grid(np.stack(list(images)), columns=columns), out)
        print(f"{count} cats in {out}")
        return
    for number, image in enumerate(images):
        save_image(image_grid(image[None]), out / f"cat_{number:05d}.png")
    print(f"{count} cats in {out}{os.sep}")


def _picture_or_folder(text: str) -> Path:
    """A name for a picture, an animation or a folder, but for one that ends like another kind of file.

    A folder that is there may be called anything.
    """
    path = Path(text)
    known = path.suffix.lower() in (*Image.registered_extensions(), *OTHER_FILES)
    known = known or mimetypes.MimeTypes().guess_type(path.name)[0] is not None
    if known and not _is_picture(path) and not path.is_dir():
        raise argparse.ArgumentTypeError(
            f"no {path.suffix} file can be written: end {text} in .png or .jpg for a picture, in .gif or "
            ".webp for an animation, or name a folder"
        )
    return path


def _folder(text: str) -> Path:
    """A name for a folder that does not end like a file, unless it is there."""
    path = Path(text)
    if _is_picture(path) and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} ends like a picture: name a folder")
    return _picture_or_folder(text)


def _grid(text: str) -> tuple[int, int]:
    """Columns and rows, such as 8x4."""
    shape = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not shape:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMNSxROWS, such as 8x4")
    columns, rows = (parse_number(int, side) for side in shape.groups())
    if columns * rows > MOST_SAMPLED:
        raise argparse.ArgumentTypeError(f"{text} are more than {MOST_SAMPLED:,} pictures")
    return columns, rows
