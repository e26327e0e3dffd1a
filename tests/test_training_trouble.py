"""What goes wrong in training is said with its remedy, and spoils no checkpoint."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import files
from PIL import Image
from tiny_runs import recorded_feeds, train_tiny

from catdcgan import Dataset, random_latents
from catdcgan.data.dataset import scale_pixels
from catdcgan.errors import RunError, TrainingError
from catdcgan.run.checkpoint_files import NAME, latest
from catdcgan.run.folder import HISTORY_NAME, RUN_NAME
from catdcgan.run.history import read_history
from catdcgan.tf1 import tf

pytestmark = pytest.mark.slow


def train_three(cats: np.ndarray, folder: Path, **changes: Any) -> list[tuple[float, float]]:
    """Train for epochs of three steps."""
    settings: dict[str, Any] = {
        "batch_size": 4,
        "base_filters": 2,
        "save_every_epochs": 1,
        "sample_every_steps": 2,
        "z_distribution": "normal",
        "data_fingerprint": "0a1b",
        "quiet": True,
    }
    losses, _ = train_tiny(cats[:12], folder, **settings | changes)
    return losses


def checkpoints(folder: Path) -> dict[str, bytes]:
    """The files of the checkpoints in a run's folder, byte for byte."""
    return {name: data for name, data in files(folder / "models").items() if name.startswith(NAME)}


def steps(folder: Path) -> list[int]:
    """The steps in a run's history."""
    return [record["step"] for record in read_history(folder / "models" / HISTORY_NAME)]


@pytest.fixture(scope="module")
def feeds() -> list[np.ndarray]:
    """The latents that `sound` was fed."""
    return []


@pytest.fixture(scope="module")
def sound(cats: np.ndarray, feeds: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an epoch of three steps."""
    folder = tmp_path_factory.mktemp("sound")
    with recorded_feeds() as fed:
        train_three(cats, folder)
    feeds.extend(values["input_z"] for values in fed if "input_z" in values)
    return folder


def copied(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(source, tmp_path_factory.mktemp("copy") / "run [v2]")  # a pattern to TensorFlow


def with_bad_step(cats: np.ndarray) -> Callable[[int, int], Iterator[np.ndarray]]:
    """Batches of which the second of each epoch but the first is no numbers."""

    def get_batches(batch_size: int, epoch: int) -> Iterator[np.ndarray]:
        for number, batch in enumerate(Dataset.from_array(cats[:12]).get_batches(batch_size, epoch)):
            yield batch * np.nan if epoch and number == 1 else batch

    return get_batches


@pytest.fixture(scope="module")
def diverged(cats: np.ndarray, sound: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """`sound`, gone on with to a step that is not finite, and the error."""
    folder = copied(sound, tmp_path_factory)
    with pytest.raises(TrainingError) as error:
        train_three(
            cats, folder, resume=True, epoch_count=3, learning_rate_D=3e-4, get_batches=with_bad_step(cats)
        )
    return folder, str(error.value)


@pytest.fixture(scope="module")
def overflowed(
    cats: np.ndarray, diverged: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """`diverged`, gone on with to a weight that is not finite, right before a save, and the error."""
    folder = copied(diverged[0], tmp_path_factory)
    with pytest.raises(TrainingError) as error:
        # G's loss is that before its step: the weights go while both losses are good.
        train_three(
            cats,
            folder,
            resume=True,
            step_count=4,
            epoch_count=2,
            learning_rate_G=math.inf,
            sample_every_steps=0,
        )
    return folder, str(error.value)


def test_a_loss_that_is_no_number_stops_training_and_names_step_remedy_and_checkpoint(
    diverged: tuple[Path, str],
) -> None:
    folder, message = diverged
    assert message.startswith("in step 5 a loss is no longer a finite number. ")
    assert "lower the learning rates, then resume" in message
    assert message.endswith(f"the last good checkpoint is {folder / 'models' / 'model.ckpt-3'}")


def test_a_loss_that_is_no_number_leaves_checkpoints_and_history_good(
    sound: Path, diverged: tuple[Path, str]
) -> None:
    folder, _ = diverged
    assert checkpoints(folder) == checkpoints(sound)
    assert steps(folder) == [1, 2, 3, 4]


def test_a_weight_that_is_no_number_is_not_saved_though_the_losses_are_good(
    sound: Path, overflowed: tuple[Path, str]
) -> None:
    folder, message = overflowed
    assert message.startswith("after step 4 a weight is no longer a finite number. ")
    assert message.endswith(f"the last good checkpoint is {folder / 'models' / 'model.ckpt-3'}")
    assert checkpoints(folder) == checkpoints(sound)
    assert np.isfinite([record["g_loss"] for record in read_history(folder / "models" / HISTORY_NAME)]).all()
    assert steps(folder) == [1, 2, 3, 4]


def test_after_such_trouble_resuming_at_a_sane_rate_works(
    cats: np.ndarray, overflowed: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = copied(overflowed[0], tmp_path_factory)
    losses = train_three(cats, folder, resume=True, epoch_count=2)
    assert len(losses) == 6
    assert np.isfinite(losses).all()
    assert steps(folder) == [1, 2, 3, 4, 5, 6]
    assert latest(folder / "models") == folder / "models" / "model.ckpt-6"


def test_more_epochs_and_other_learning_rates_are_taken_and_written_down(
    overflowed: tuple[Path, str],
) -> None:
    starts = json.loads((overflowed[0] / "models" / RUN_NAME).read_text())["starts"]
    assert [(start["step"], start["changed"]) for start in starts] == [
        (0, {}),
        (3, {"epoch_count": [1, 3], "learning_rate_D": [2e-4, 3e-4]}),
        (
            3,
            {
                "epoch_count": [3, 2],
                "step_count": [None, 4],
                "learning_rate_D": [3e-4, 2e-4],
                "learning_rate_G": [2e-4, math.inf],
                "sample_every_steps": [2, 0],
            },
        ),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_filters": 4}, "base_filters 2, now 4"),
        ({"batch_size": 6}, "batch_size 4, now 6"),
        ({"data_fingerprint": "2c3d"}, "data fingerprint 0a1b, now 2c3d"),
        ({"data_shape": (12, 48, 48, 3)}, "image_size 32, now 48"),
        ({"z_distribution": "uniform"}, "z_distribution normal, now uniform"),
    ],
)
def test_going_on_with_other_nets_or_data_is_refused_before_anything_changes(
    changes: dict[str, Any], said: str, cats: np.ndarray, sound: Path
) -> None:
    before = files(sound)
    with pytest.raises(RunError, match=f"was started with {said}.*resume with the old settings"):
        train_three(cats, sound, resume=True, epoch_count=2, **changes)
    assert files(sound) == before


def test_evaluate_sees_the_grids_pictures_and_its_figures_go_into_the_history_alone(
    cats: np.ndarray, sound: Path, tmp_path: Path
) -> None:
    pictures = []

    def evaluate(drawn: np.ndarray) -> dict[str, float]:
        pictures.append(drawn.copy())
        drawn[:] = 0  # it cannot spoil anything
        return {"beauty": 0.25 * len(pictures)}

    train_three(cats, tmp_path, evaluate=evaluate)
    assert [(drawn.shape, drawn.dtype.name) for drawn in pictures] == [((25, 32, 32, 3), "uint8")]
    with Image.open(tmp_path / "images" / "step_0000002.png") as grid:
        second_row = np.asarray(grid)[32:64].reshape(32, 5, 32, 3).swapaxes(0, 1)
    assert np.array_equal(pictures[0][5:10], second_row)
    records = read_history(tmp_path / "models" / HISTORY_NAME)
    assert [record.get("beauty") for record in records] == [None, 0.25, None]
    assert checkpoints(tmp_path) == checkpoints(sound), "the same weights as without it"


def test_normal_latents_are_fed_to_steps_and_grids(feeds: list[np.ndarray], sound: Path) -> None:
    grids = [z for z in feeds if len(z) == 25]
    assert len(grids) == 3  # steps 0, 2 and 3
    for z in grids:
        assert np.array_equal(z, random_latents(25, 8, 0, "normal"))
    assert abs(grids[0].std() - 1) < 0.1
    trained = np.concatenate([z for z in feeds if len(z) == 4])
    assert trained.shape == (12, 8)
    assert len(np.unique(trained)) == trained.size
    assert abs(trained.mean()) < 0.3
    assert 0.8 < trained.std() < 1.2
    assert np.abs(trained).max() > 1.5


def test_latents_of_no_known_distribution_are_refused(cats: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='latents are "uniform" or "normal", not "gauss"'):
        train_three(cats, tmp_path, z_distribution="gauss")


# What is wrong with the run's surroundings, or with the functions that it is given


def test_a_figure_that_cannot_be_kept_ends_training_and_names_the_checkpoint(
    cats: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r'step 2 .* "step", .*last good checkpoint is .*model\.ckpt-0'):
        train_three(cats, tmp_path, evaluate=lambda drawn: {"step": 1.0})
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize("given", [[], [np.empty((0, 32, 32, 3), np.float32)]], ids=["no batch", "no image"])
def test_an_epoch_without_images_is_no_epoch_done(given: Any, cats: np.ndarray, tmp_path: Path) -> None:
    epochs = iter([[scale_pixels(cats[:4])]])
    with pytest.raises(TrainingError, match=r"epoch 2: get_batches\(4\) gave .*checkpoint is .*ckpt-1"):
        train_three(cats, tmp_path, get_batches=lambda size: next(epochs, given), epoch_count=3)
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), tf.errors.ResourceExhaustedError(None, None, "OOM")]
)
def test_memory_that_runs_out_is_one_error_with_the_remedy(
    error: Exception, cats: np.ndarray, tmp_path: Path
) -> None:
    def evaluate(_: np.ndarray) -> dict[str, float]:
        raise error

    expected = r"out of memory \(.+\): .*smaller.*last good checkpoint is .*model\.ckpt-0"
    with pytest.raises(TrainingError, match=expected):
        train_three(cats, tmp_path, evaluate=evaluate)


@pytest.mark.skipif(os.name == "nt", reason="Windows moves no folder in which a file is open")
@pytest.mark.parametrize("kind", ["moved", "removed", "removed and made anew"])
def test_a_folder_that_is_moved_or_removed_is_noticed(kind: str, cats: np.ndarray, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"

    def evaluate(_: np.ndarray) -> dict[str, float]:
        if not moved.exists():
            run.rename(moved)
            if kind == "removed and made anew":
                shutil.copytree(moved, run)
        return {}

    with pytest.raises(TrainingError, match=r"run.models.* was moved or removed while training ran"):
        train_three(cats, run, evaluate=evaluate)
    assert run.exists() == (kind == "removed and made anew"), "nothing is made where it was"
    shutil.rmtree(run, ignore_errors=True)
    moved.rename(run)
    assert len(train_three(cats, run, resume=True)) == 3
