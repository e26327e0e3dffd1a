"""Batch norm's statistics for sampling, taken from the generator itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_runs import assert_same_run, read_checkpoint, train_tiny

from catdcgan import generator, random_latents, sample
from catdcgan.run.checkpoint import restore
from catdcgan.run.checkpoint_files import NAME, numbered
from catdcgan.sampling import STATISTICS_STREAM, refresh_statistics
from catdcgan.tf1 import tf

OPTIONS: dict[str, Any] = {"statistics_latents": 64, "average_decay": 0.9, "flip": True}


@pytest.fixture(scope="module")
def trained(cats: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statistics")
    train_tiny(cats, folder, epoch_count=2, **OPTIONS)
    return folder


def test_sampling_is_what_the_batch_of_these_latents_gives(trained: Path) -> None:
    """In a batch of 64 the statistics are those of the batch, so both ways of normalizing agree."""
    z = random_latents(64, 8, np.random.default_rng((0, STATISTICS_STREAM, 0)))
    checkpoint = trained / "models" / NAME
    with tf.Graph().as_default(), tf.Session() as sess:
        images = generator(tf.constant(z), 3, True, 0.2, 4, 32)
        restore(sess, checkpoint, tf.global_variables("generator"))
        pixels = sess.run(images)
    expected = np.clip(np.round((pixels + 1) * 127.5), 0, 255)
    assert np.abs(sample(checkpoint, z).astype(float) - expected).max() <= 1
    assert expected.std() > 1


def test_the_batches_are_nearly_equal_so_that_all_latents_count_the_same() -> None:
    sizes: list[int] = []

    def run(fetched: dict[str, str], feed: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        sizes.append(len(feed["input_z"]))
        return {"scope": (np.zeros(1), np.ones(1))}

    net: Any = SimpleNamespace(statistics={"scope": "scope"}, input_z="input_z", sampling_variables={})
    settings: Any = SimpleNamespace(statistics_latents=65, seed=0, z_dim=8, z_distribution="uniform")
    with pytest.raises(KeyError):  # there is no variable to set
        refresh_statistics(SimpleNamespace(run=run), net, settings)
    assert sizes == [33, 32]


def test_training_takes_the_same_steps(trained: Path, cats: np.ndarray, tmp_path: Path) -> None:
    train_tiny(cats, tmp_path, epoch_count=2, **OPTIONS | {"statistics_latents": 0})
    ours, plain = (read_checkpoint(numbered(folder / "models")[-1]) for folder in (trained, tmp_path))
    assert ours.keys() == plain.keys()
    moved = ("moving_mean/ExponentialMovingAverage", "moving_variance/ExponentialMovingAverage")
    changed = {name for name in ours if not np.array_equal(ours[name], plain[name])}
    assert changed
    assert all(name.endswith(moved) for name in changed)


def test_early_pictures_are_livelier_than_with_lagging_averages(
    trained: Path, cats: np.ndarray, tmp_path: Path
) -> None:
    train_tiny(cats, tmp_path, epoch_count=2, **OPTIONS | {"statistics_latents": 0})
    ours, plain = (
        np.asarray(Image.open(folder / "images/step_0000006.png"), float).std()
        for folder in (trained, tmp_path)
    )
    assert ours > 2 * plain


def test_a_stopped_and_resumed_run_has_the_same_bits(trained: Path, cats: np.ndarray, tmp_path: Path) -> None:
    train_tiny(cats, tmp_path, epoch_count=2, step_count=2, **OPTIONS)
    train_tiny(cats, tmp_path, epoch_count=2, resume=True, **OPTIONS)
    assert_same_run(tmp_path, trained, read_checkpoint)
