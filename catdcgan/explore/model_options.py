"""The options that name a trained model, and say how it was trained."""

from __future__ import annotations

import argparse
from typing import Any

from catdcgan.settings import Z_DISTRIBUTIONS, fraction, some_path


def add_model_options(parser: argparse.ArgumentParser, latents: bool = True, many: bool = False) -> None:
    """Add to a parser the options that name a trained model and say how it was trained.

    `latents` says whether the distribution of the latents is among them, and `many` whether there may be
    several models: then ``checkpoint`` is a list.
    """
    add, included = parser.add_argument, "models/model.ckpt"
    text = "a checkpoint, or the folder of a run" + f" (default: {included})" * many
    named: dict[str, Any] = {"nargs": "+", "default": [included]} if many else {"default": included}
    add("--checkpoint", type=some_path, metavar="PATH", help=text, **named)
    text = "the model was trained on pixels in [-0.5, 0.5], like the article author's"
    add("--half-range", action="store_true", help=text)
    text = "slope of the leaky ReLU that the model was trained with"
    add("--alpha", type=fraction, default=0.2, metavar="A", help=text)
    if latents:
        text = "distribution of the latents that the model was trained with"
        add("--z", choices=Z_DISTRIBUTIONS, default="uniform", help=text)


def trained_with(options: argparse.Namespace) -> dict[str, Any]:
    """How the model was trained, by the options of `add_model_options`: the keyword arguments of `sample`."""
    return {"pixel_range": 0.5 if options.half_range else 1.0, "alpha": options.alpha}


def typed_model_options(options: argparse.Namespace) -> list[str]:
    """`model_options` as they were typed for this command."""
    return model_options(vars(options).get("z", "uniform"), options.alpha, options.half_range)


def model_options(z: str = "uniform", alpha: float = 0.2, half_range: bool = False) -> list[str]:
    """The options of `add_model_options` that say how a model was trained, for a printed command."""
    words = [] if z == "uniform" else ["--z", z]
    words += [] if alpha == 0.2 else [f"--alpha={alpha}"]
    return words + ["--half-range"] * half_range
