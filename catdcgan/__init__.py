"""Cat DCGAN: a generative network that learns to draw cats, as a TensorFlow-1 style static graph.

The article's functions, and what goes with them, are imported from here::

    from catdcgan import Dataset, generator, sample, train

TensorFlow loads when the first of them that needs it is asked for, not at ``import catdcgan``.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for editors and type checkers, which do not see through __getattr__
    from catdcgan.checkpoint import CheckpointError as CheckpointError
    from catdcgan.checkpoint import read_architecture as read_architecture
    from catdcgan.data import DataError as DataError
    from catdcgan.data import Dataset as Dataset
    from catdcgan.drawn import draw_cat as draw_cat
    from catdcgan.drawn import draw_cats as draw_cats
    from catdcgan.history import read_losses as read_losses
    from catdcgan.images import image_grid as image_grid
    from catdcgan.images import plot_losses as plot_losses
    from catdcgan.images import save_animation as save_animation
    from catdcgan.images import save_image as save_image
    from catdcgan.images import training_strip as training_strip
    from catdcgan.model import discriminator as discriminator
    from catdcgan.model import generator as generator
    from catdcgan.model import model_inputs as model_inputs
    from catdcgan.model import model_loss as model_loss
    from catdcgan.model import model_optimizers as model_optimizers
    from catdcgan.sample import interpolate as interpolate
    from catdcgan.sample import random_latents as random_latents
    from catdcgan.sample import sample as sample
    from catdcgan.sample import show_generator_output as show_generator_output
    from catdcgan.tf1 import describe_device as describe_device
    from catdcgan.train import train as train

_MODULE_OF = {
    "model_inputs": "model",
    "discriminator": "model",
    "generator": "model",
    "model_loss": "model",
    "model_optimizers": "model",
    "train": "train",
    "show_generator_output": "sample",
    "sample": "sample",
    "random_latents": "sample",
    "interpolate": "sample",
    "Dataset": "data",
    "DataError": "data",
    "draw_cat": "drawn",
    "draw_cats": "drawn",
    "CheckpointError": "checkpoint",
    "read_architecture": "checkpoint",
    "read_losses": "history",
    "image_grid": "images",
    "save_image": "images",
    "save_animation": "images",
    "training_strip": "images",
    "plot_losses": "images",
    "describe_device": "tf1",
}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


class _Package(types.ModuleType):
    """Keeps ``catdcgan.train`` and ``catdcgan.sample`` the functions when the modules of that name load."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
