"""The only list of a run's settings: the default, command-line option and check of each; and the recipes.

The options of ``catdcgan train``, ``run.json`` and the comparison on a resume all use this list. Nothing here
needs TensorFlow, so ``--help`` and usage errors are fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, TypeVar

from catdcgan.errors import InputError

Number = TypeVar("Number", int, float)

DRAWN = "drawn"  # instead of a folder of pictures: cats painted by Pillow
IMAGE_MODES = {"RGB": 3, "L": 1}  # Pillow's mode name -> channels
AUGMENT_POLICIES = ("color", "translation", "cutout")  # in the order in which they are applied
PROBABILITY = "augment_probability"  # of `augment_target`: a variable, and its name in the history
SURENESS = "augment_sureness"  # of the discriminator, averaged: the variable that this probability follows
Z_DISTRIBUTIONS = ("uniform", "normal")

# Upper limits of options. They allow any sensible use, and stop a typing error before it fills memory or a
# disk.
MOST = 1_000_000_000  # unless another limit is given
LARGEST_SIZE = 2048  # pixels
LARGEST_WIDTH = 512
LONGEST_LATENT = 10_000
MOST_STATISTICS = 65_536  # pictures
LARGEST_SEED = 2**63 - 1  # an int64, as TensorFlow's stateless random numbers take


# Checks: each converts the text of an option to its value, or raises argparse.ArgumentTypeError.


def parse_number(kind: Callable[[str], Number], text: str) -> Number:
    """Parse a number of the given kind, int or float."""
    try:
        return kind(text)
    except ValueError:
        name = "whole number" if kind is int else "number"
        raise argparse.ArgumentTypeError(f"{text!r} is not a {name}") from None


def whole(minimum: int, maximum: int = MOST) -> Callable[[str], int]:
    """Make the check for whole numbers from `minimum` to `maximum`, both included."""

    def whole_number(text: str) -> int:
        value = parse_number(int, text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text} is below {minimum}")
        if value > maximum:
            raise argparse.ArgumentTypeError(f"{text} is above {maximum:,}")
        return value

    return whole_number


def image_side(text: str) -> int:
    """Parse the side of images in pixels; both networks must be able to halve it four times."""
    side = whole(0, LARGEST_SIZE)(text)
    if not is_image_size(side):
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 16 from 32 up")
    return side


def is_image_size(side: int) -> bool:
    """Whether the networks can be built for images of this side, in pixels."""
    return side >= 32 and side % 16 == 0


def some_path(text: str) -> str:
    """Check that a path is not empty, as an unset shell variable is: it would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def part_or_path(text: str) -> str:
    """Check a part, above 0 and below 1, or a path; "none" becomes an empty text."""
    if text == "none":
        return ""
    try:
        part = float(text)
    except ValueError:
        return some_path(text)
    if not 0 < part < 1:
        raise argparse.ArgumentTypeError(f"{text} must be above 0 and below 1, or a folder")
    return text


def part_of(text: str | None) -> float:
    """The part that `part_or_path` found in a text; 0 for a path, or nothing."""
    try:
        return float(text or 0)
    except ValueError:
        return 0


def positive(text: str) -> float:
    """Parse a number above 0, at most `MOST`."""
    value = parse_number(float, text)
    if not 0 < value <= MOST:
        raise argparse.ArgumentTypeError(f"{text} must be above 0 and at most {MOST:,}")
    return value


def fraction(text: str) -> float:
    """Parse a number in [0, 1)."""
    value = parse_number(float, text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 0 and below 1")
    return value


def policies(text: str) -> tuple[str, ...]:
    """Parse augmentation policies, separated by commas."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in AUGMENT_POLICIES:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(AUGMENT_POLICIES)}")
    return names


def on_off_or_auto(text: str) -> bool | str:
    """Parse "on" and "off", which become True and False, or "auto"."""
    values: dict[str, bool | str] = {"on": True, "off": False, "auto": "auto"}
    if text not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of auto, on, off")
    return values[text]


# The settings.


def setting(
    default: Any,
    option: str,
    check: Callable[[str], Any] | tuple[str, ...] | None,
    help: str,
    metavar: str = "N",
    fixed: bool = False,
    bare: Any = None,
) -> Any:
    """Make a field of `Settings`.

    Args:
        default: the command line's default; `train` has the article's.
        option: its name on the command line, such as ``--epochs``.
        check: converts the option's text to the value; or a tuple of the allowed values; None for a switch.
        help: its text in ``--help``.
        metavar: placeholder for the value in ``--help``.
        fixed: whether the setting must stay the same when a run is resumed.
        bare: the value of the option without a value; None if it needs one.
    """
    parsing: dict[str, Any] = {"help": help}
    if check is None:
        parsing["action"] = argparse.BooleanOptionalAction
    elif isinstance(check, tuple):
        parsing["choices"] = check
    else:
        parsing |= {"type": check, "metavar": metavar}
    if bare is not None:
        parsing |= {"nargs": "?", "const": bare}
    return field(default=default, metadata={"option": option, "fixed": fixed, "parsing": parsing})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that determine a run: recorded in run.json, and compared when the run is resumed.

    A run keeps its fixed settings. Width, image size, colours and length of the latents determine the shapes
    of its weights. Batch size and seed decide which images and latents each step gets, so that a resumed run
    takes the same steps as one never stopped. With another alpha or distribution of latents, the same weights
    generate other images.
    """

    data_source: str | None = setting(
        None,
        "--data",
        some_path,
        f'folder of pictures, or "{DRAWN}" for painted cats; with --resume, by default those of the run',
        "FOLDER",
    )
    held_out: str | None = setting(
        None,
        "--held-out",
        part_or_path,
        "show the discriminator pictures that it does not train on, to see whether it learns its own by "
        "heart: a part of them, such as 0.05, or another folder; in a single process only (default: none)",
        "PART_OR_FOLDER",
    )
    start_from: str | None = setting(
        None,
        "--start-from",
        some_path,
        "begin with the weights of this checkpoint, which takes fewer pictures and steps "
        "(default: random weights)",
        "PATH",
    )
    generator_waits: int = setting(
        0, "--generator-waits", whole(0), "steps at the start in which the discriminator learns alone"
    )
    epoch_count: int | None = setting(215, "--epochs", whole(1), "passes over the pictures, in total")
    step_count: int | None = setting(None, "--steps", whole(1), "stop after N steps in total")
    batch_size: int = setting(64, "--batch-size", whole(1), "pictures in a step", fixed=True)
    learning_rate_D: float = setting(
        5e-5, "--learning-rate-D", positive, "learning rate of the discriminator"
    )
    learning_rate_G: float = setting(2e-4, "--learning-rate-G", positive, "learning rate of the generator")
    beta1: float = setting(0.5, "--beta1", fraction, "Adam's decay rate of the first moment")
    smooth: float = setting(0.1, "--smooth", fraction, "real images are labelled 1 - N")
    z_dim: int = setting(100, "--z-dim", whole(1, LONGEST_LATENT), "length of a latent", fixed=True)
    z_distribution: str = setting(
        "uniform", "--z", Z_DISTRIBUTIONS, "distribution of the latents", fixed=True
    )
    base_filters: int = setting(
        64, "--base-filters", whole(1, LARGEST_WIDTH), "width: channels of D's first layer", fixed=True
    )
    alpha: float = setting(0.2, "--alpha", fraction, "slope of the leaky ReLU below zero", fixed=True)
    seed: int = setting(0, "--seed", whole(0, LARGEST_SEED), "the same seed gives the same cats", fixed=True)
    flip: bool = setting(False, "--flip", None, "mirror half of the real images")
    augment: tuple[str, ...] = setting(
        (),
        "--augment",
        policies,
        "augment real and generated images alike (DiffAugment), so that few pictures are not learnt by "
        "heart, for a slower start: "
        f"{','.join(AUGMENT_POLICIES)}, or some of these",
        "LIST",
    )
    augment_target: float = setting(
        0.0,
        "--augment-target",
        fraction,
        "augment with a probability (ADA) that rises while the discriminator is too sure of its pictures, "
        "that is, while the mean sign of its logits for them is above N, such as 0.6, and falls otherwise; "
        "needs --augment; 0: augment every image",
    )
    average_decay: float = setting(
        0.0,
        "--average-decay",
        fraction,
        "sample with an exponential moving average of the generator, such as 0.999; 0 for none",
    )
    statistics_latents: int = setting(
        0,
        "--statistics-latents",
        whole(0, MOST_STATISTICS),
        "before each grid and checkpoint, take batch norm's statistics from N pictures of the generator, "
        "since moving averages lag and make early pictures gray; 0 for moving averages",
    )
    decay_part: float = setting(
        0.0,
        "--decay-part",
        fraction,
        "decay both learning rates to 0 over this last part of the run, such as 0.3; 0 for none",
    )
    xla: bool = setting(
        False, "--xla", None, "compile with XLA: a slower start, then up to twice as fast on a GPU"
    )
    mixed_precision: bool | str = setting(
        False,
        "--mixed-precision",
        on_off_or_auto,
        "multiply in bfloat16, which is faster where the device has instructions for it; auto: on if it has "
        "them, else off; without a value: on",
        "auto|on|off",
        bare=True,
    )
    save_every_epochs: int = setting(5, "--save-every-epochs", whole(1), "epochs between checkpoints")
    save_every_minutes: float = setting(10, "--save-every-minutes", positive, "minutes between checkpoints")
    sample_every_steps: int = setting(100, "--sample-every-steps", whole(1), "steps between sample grids")
    keep_checkpoints: int = setting(5, "--keep-checkpoints", whole(1), "how many checkpoints to keep")
    image_size: int = setting(128, "--size", image_side, "side of the pictures in pixels", fixed=True)
    image_mode: str = setting("RGB", "--mode", tuple(IMAGE_MODES), "colour or grayscale", fixed=True)


NO_LIMIT = "no limit"  # in run.json, for the number of epochs

FIXED = tuple(item.name for item in fields(Settings) if item.metadata["fixed"])

RECIPES: dict[str, dict[str, Any]] = {
    "article": {},  # the defaults
    "better": {  # models/README.md describes the trials behind it; models/model.ckpt was trained for longer
        "base_filters": 32,
        "batch_size": 16,
        "epoch_count": None,  # no limit: the steps decide
        "step_count": 9000,
        "learning_rate_D": 2e-4,
        "decay_part": 0.3,
        "flip": True,
        "average_decay": 0.999,
        "statistics_latents": 256,
        "mixed_precision": "auto",
    },
}


def add_settings(parser: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    """Add the option of each setting to a parser; `defaults`, by field name, override the list's."""
    for item in fields(Settings):
        default = defaults.get(item.name, item.default)
        parser.add_argument(
            item.metadata["option"], dest=item.name, default=default, **item.metadata["parsing"]
        )


def option_names() -> dict[str, str]:
    """The name of each setting on the command line."""
    return {item.name: item.metadata["option"] for item in fields(Settings)}


def recipe_options(name: str) -> str:
    """The options that a recipe stands for, as typed on the command line."""
    options = option_names()
    words = {"True": "", "None": f" ({NO_LIMIT})"}
    return " ".join(options[key] + words.get(f"{value}", f" {value}") for key, value in RECIPES[name].items())


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Make settings from values by name, such as parsed options or a function's arguments.

    Other names are ignored.

    Raises:
        KeyError: a setting is missing.
        InputError: there is a target for augmentation, and nothing to augment with.
    """
    settings = Settings(**{item.name: values[item.name] for item in fields(Settings)})
    if settings.augment_target and not settings.augment:
        raise InputError(
            "--augment-target needs --augment: name what to augment with, or give 0 as the target"
        )
    return settings


def to_record(settings: Settings) -> dict[str, Any]:
    """The settings by name, as stored in run.json."""
    record = asdict(settings)
    return record | {"epoch_count": record["epoch_count"] or NO_LIMIT}


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by name, read from run.json; a record of another version may lack some.

    Raises:
        ValueError: a setting cannot have the value in the record.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    values = {name: None if value == NO_LIMIT else value for name, value in values.items()}
    for item in fields(Settings):
        if item.name in values and not _can_be(item, values[item.name]):
            raise ValueError(f"{item.name} cannot be {record[item.name]!r}")
    return values


def _can_be(item: Field[Any], value: Any) -> bool:
    """Whether a setting can have a value that was read from JSON."""
    kinds = str(item.type).split(" | ")
    kind = kinds[0]
    if value is None:
        return "None" in kinds
    if kind in ("int", "float"):  # `train` takes numbers that options refuse, such as 0 for none
        if item.name == "image_size" and type(value) is int:
            return is_image_size(value)
        least = 1 if item.metadata["fixed"] and item.name not in ("seed", "alpha") else 0
        return type(value) in ((int,) if kind == "int" else (int, float)) and bool(value >= least)
    if kind.startswith("tuple"):
        return isinstance(value, tuple) and all(name in AUGMENT_POLICIES for name in value)
    if kinds == ["bool", "str"]:
        return type(value) is bool or value == "auto"
    choices = item.metadata["parsing"].get("choices")
    return value in choices if choices else type(value).__name__ == kind
