"""Runs of the smallest nets, what sessions are fed meanwhile, and what to compare of two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import files

from catdcgan import Dataset, generator, train
from catdcgan.run import checkpoint
from catdcgan.run.checkpoint import Architecture
from catdcgan.run.checkpoint_files import NAME, numbered
from catdcgan.run.folder import HISTORY_NAME
from catdcgan.run.history import read_history
from catdcgan.tf1 import tf

AVERAGE = "/ExponentialMovingAverage"  # what the name of a variable's average ends in

Values = dict[str, np.ndarray]


def author_variables() -> list[tuple[str, str, str]]:
    """Name, shape and dtype of the 148 variables in the checkpoint of the article's author."""
    _, *rows = Path(__file__).with_name("author_checkpoint_variables.tsv").read_text("utf-8").splitlines()
    return [(name, shape, dtype) for name, shape, dtype in (row.split("\t") for row in rows)]


def build_generator(made: Architecture, seed: int = 0) -> list[tf.Variable]:
    """Make a generator of the latents ``input_z`` in the default graph, and return its variables."""
    tf.set_random_seed(seed)
    z = tf.placeholder(tf.float32, (None, made.z_dim), name="input_z")
    generator(z, made.channels, base_filters=made.base_filters, image_size=made.image_size)
    return list(tf.global_variables("generator"))


def save_generator(sess: tf.Session, path: Path) -> Path:
    """Save the generator in the default graph, as training does."""
    checkpoint.save(sess, tf.train.Saver(tf.global_variables("generator")), path)
    return path


def save_lively_generator(path: Path, made: Architecture, seed: int = 0) -> Path:
    """Save a generator whose variables are all random, and its pictures as lively as after long training.

    A new one makes flat gray, and its batch norm does nothing.
    """
    random = np.random.default_rng(seed)
    with tf.Graph().as_default(), tf.Session() as sess:
        variables = build_generator(made, seed)
        sess.run(tf.global_variables_initializer())
        values = []
        for variable, value in zip(variables, sess.run(variables), strict=True):
            kind = variable.op.name.rpartition("/")[2]
            if kind == "kernel":  # at a stride of 2, a quarter of the weights meets a pixel
                inputs = value.shape[0] if value.ndim == 2 else 25 * value.shape[-1] / 4
                values.append(random.normal(0, np.sqrt(2 / inputs), value.shape))
            elif kind == "moving_variance":
                values.append(random.uniform(0.5, 2, value.shape))
            else:
                values.append(value + random.normal(0, 0.1, value.shape))
        checkpoint.set_variables(sess, zip(variables, values, strict=True))
        return save_generator(sess, path)


def train_tiny(
    images: np.ndarray, folder: Path, get_batches: Callable[..., Any] | None = None, **changes: Any
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train the smallest nets for an epoch, into ``folder/models`` and ``folder/images``."""
    dataset = Dataset.from_array(images, seed=0)
    settings: dict[str, Any] = {
        "epoch_count": 1,
        "batch_size": 16,
        "z_dim": 8,
        "learning_rate_D": 2e-4,
        "learning_rate_G": 2e-4,
        "beta1": 0.5,
        "get_batches": get_batches or dataset.get_batches,
        "data_shape": dataset.shape,
        "data_image_mode": dataset.image_mode,
        "alpha": 0.2,
        "base_filters": 4,
        "model_dir": folder / "models",
        "image_dir": folder / "images",
        "show_every_epochs": 0,  # showing opens a window
    }
    return train(**settings | changes)


@contextmanager
def recorded_feeds() -> Iterator[list[Values]]:
    """What sessions are fed meanwhile, run by run, under the names of the placeholders."""
    fed: list[Values] = []
    session_run = tf.Session.run

    def name_of(tensor: Any) -> str:  # a Saver feeds its file name under a string already
        return tensor if isinstance(tensor, str) else str(tensor.op.name)

    def run(self: Any, fetches: Any, feed_dict: dict[Any, Any] | None = None) -> Any:
        fed.append({name_of(tensor): np.array(value) for tensor, value in (feed_dict or {}).items()})
        return session_run(self, fetches, feed_dict)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.Session, "run", run)
        yield fed


def read_checkpoint(checkpoint: Path | None) -> Values:
    """Every variable in a checkpoint, by name."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def same(one: Values, other: Values) -> bool:
    """Whether two checkpoints hold the same bits."""
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def assert_same_run(run: Path, unbroken: Path, read: Callable[[Path], Values]) -> None:
    """All is bit for bit that of a run that nothing ever happened to; where it was stopped are more grids.

    Weights, Adam's slots, averages and counters as `read` gets them from the last checkpoint, those of the
    generator's, the history, and the grids.
    """
    for name in (numbered(unbroken / "models")[-1].name, NAME):
        assert same(*(read(folder / "models" / name) for folder in (run, unbroken))), name
    histories = [read_history(*folder.rglob(HISTORY_NAME)) for folder in (run, unbroken)]
    for record in (record for history in histories for record in history):
        del record["images_per_second"]
    assert histories[0] == histories[1]
    assert grids(unbroken).items() <= grids(run).items()


def grids(run: Path) -> dict[str, bytes]:
    """The sample grids of a run, byte for byte."""
    return {name: content for name, content in files(run / "images").items() if name.startswith("step_")}
