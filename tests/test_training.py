"""Training with tiny nets: what a run makes, how it goes on, and that it learns."""

from __future__ import annotations

import inspect
import itertools
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pictures import files
from PIL import Image
from tiny_runs import AVERAGE, Values, assert_same_run, read_checkpoint, recorded_feeds, same, train_tiny

from catdcgan import CheckpointError, Dataset, draw_cats, random_latents, read_losses, sample, train
from catdcgan.data.dataset import scale_pixels
from catdcgan.errors import InputError, RunError
from catdcgan.model import model_inputs, model_loss, model_optimizers
from catdcgan.run.checkpoint_files import latest, numbered
from catdcgan.run.folder import HISTORY_NAME
from catdcgan.run.history import read_history
from catdcgan.run.interrupts import STOPS
from catdcgan.run.tensors import COUNTERS
from catdcgan.run.watch import Watch
from catdcgan.settings import AUGMENT_POLICIES, PROBABILITY, SURENESS
from catdcgan.tf1 import tf

pytestmark = pytest.mark.slow


def write(checkpoint: Path, values: Values) -> None:
    """Make a checkpoint of these values, as the article's author did: with a Saver."""
    with tf.Graph().as_default(), tf.Session() as sess:
        variables = {name: tf.Variable(value) for name, value in values.items()}
        sess.run(tf.global_variables_initializer())
        checkpoint.parent.mkdir()
        tf.train.Saver(variables).save(sess, str(checkpoint), write_meta_graph=False, write_state=False)


def steps(checkpoints: list[Path]) -> list[int]:
    return [int(path.name.rsplit("-", 1)[1]) for path in checkpoints]


def signals_in_step(step: int, *signals: int) -> dict[str, Any]:
    """Settings of a run that gets these signals in a step: when its pictures are evaluated."""
    steps = itertools.count(1)

    def evaluate(_: np.ndarray) -> dict[str, float]:
        for number in signals if next(steps) == step else ():
            os.kill(os.getpid(), number)
        return {}

    return {"evaluate": evaluate, "sample_every_steps": 1}


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """Signal handlers to find again afterwards. If train takes no signal, they fail the test, not pytest."""

    def receive(number: int, _: object) -> None:
        raise AssertionError(f"training left signal {number} to the program")

    own = dict.fromkeys(STOPS, receive)
    previous = {number: signal.signal(number, handler) for number, handler in own.items()}
    yield own
    for number, handler in previous.items():
        signal.signal(number, handler)


class Short(NamedTuple):
    """An epoch of three steps, and all there is to see of it."""

    folder: Path
    losses: list[tuple[float, float]]
    samples: list[Path]
    feeds: list[Values]
    stderr: str


@pytest.fixture(scope="module")
def short(cats: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Short:
    folder = tmp_path_factory.mktemp("short") / "none" / "of these" / "is there yet"
    with recorded_feeds() as feeds, redirect_stderr(StringIO()) as stderr:
        losses, samples = train_tiny(
            cats, folder, learning_rate_D=3e-5, learning_rate_G=4e-5, sample_every_steps=2
        )
    return Short(folder, losses, samples, feeds, stderr.getvalue())


class Run(NamedTuple):
    """A run of three epochs of three steps, with everything on that resuming must get right."""

    folder: Path
    losses: list[tuple[float, float]]
    samples: list[Path]
    epochs: list[int]  # that get_batches was asked for
    grid_latents: list[np.ndarray]


RUN = {
    "epoch_count": 3,
    "flip": True,
    "average_decay": 0.9,
    "sample_every_steps": 2,
    "seed": 3,
    "augment": AUGMENT_POLICIES,
    "augment_target": 0.1,
    "event_files": True,
}


def train_run(images: np.ndarray, folder: Path, stops: list[int]) -> Run:
    """Train with a break after each of some steps."""
    dataset = Dataset.from_array(images, seed=0)
    epochs = []

    def get_batches(batch_size: int, epoch: int) -> Iterator[np.ndarray]:
        epochs.append(epoch)
        return dataset.get_batches(batch_size, epoch)

    with recorded_feeds() as feeds, pytest.MonkeyPatch.context() as patch:
        patch.setattr("catdcgan.diff_augment.RISE", 100)  # images: a probability that moves in nine steps
        patch.setattr("catdcgan.training.EVENT_STEPS", 4)
        for index, stop in enumerate([*stops, None]):
            losses, samples = train_tiny(
                images, folder, get_batches, **RUN, step_count=stop, resume=index > 0
            )
            if stop is None:
                break
            assert len(losses) == stop
            # What a run leaves that is killed later: steps without a checkpoint, the last one half-written.
            with (folder / "models" / HISTORY_NAME).open("a") as history:
                history.write('{"step": 9, "epoch": 9, "d_loss": 9.0, "g_loss": 9.0}\n{"step": 9, "ep')
    grid_latents = [feed["input_z"] for feed in feeds if feed.keys() == {"input_z"}]
    return Run(folder, losses, samples, epochs, grid_latents)


@pytest.fixture(scope="module")
def whole(cats: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_run(cats, tmp_path_factory.mktemp("whole"), [])


@pytest.fixture(scope="module")
def broken(cats: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with a break between two epochs and one in the middle of an epoch."""
    return train_run(cats, tmp_path_factory.mktemp("broken"), [3, 4])


# What it takes and gives


def test_train_starts_with_the_parameters_of_the_article_in_its_order() -> None:
    assert list(inspect.signature(train).parameters)[:10] == [
        "epoch_count",
        "batch_size",
        "z_dim",
        "learning_rate_D",
        "learning_rate_G",
        "beta1",
        "get_batches",
        "data_shape",
        "data_image_mode",
        "alpha",
    ]


def test_every_parameter_after_the_articles_has_a_default() -> None:
    added = list(inspect.signature(train).parameters.values())[10:]
    assert added
    assert all(parameter.default is not parameter.empty for parameter in added)


@pytest.mark.tutorial_bug(22)
def test_the_default_intervals_are_those_that_the_article_tells() -> None:
    defaults = {name: p.default for name, p in inspect.signature(train).parameters.items()}
    assert defaults["save_every_epochs"] == 5
    assert defaults["sample_every_steps"] == 10
    assert defaults["show_every_epochs"] == 15


@pytest.mark.tutorial_bug(3)
def test_train_returns_the_losses_of_every_step_and_the_files_of_the_grids(short: Short) -> None:
    assert len(short.losses) == 3  # 40 cats in batches of 16, 16 and 8
    assert all(isinstance(loss, float) and 0 < loss < 20 for pair in short.losses for loss in pair)
    assert len({loss for pair in short.losses for loss in pair}) == 6, "D's and G's losses of each step"
    assert short.losses == read_losses(short.folder / "models" / HISTORY_NAME)
    assert short.samples == [short.folder / "images" / f"step_{step:07d}.png" for step in (0, 2, 3)]
    for file in short.samples:
        with Image.open(file) as grid:
            assert (grid.size, grid.mode) == ((5 * 32, 5 * 32), "RGB")


@pytest.mark.tutorial_bug(20)
def test_the_folders_of_a_run_are_made(short: Short) -> None:
    assert (short.folder / "models" / "model.ckpt.index").is_file()
    assert (short.folder / "images" / "step_0000000.png").is_file()


@pytest.mark.parametrize("shape", [(40, 32, 48, 3), (40, 40, 40, 3), (40, 16, 16, 3)])
def test_images_that_the_nets_cannot_take_are_refused_before_anything_is_made(
    shape: tuple[int, int, int, int], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"square|multiple of 16"):
        train_tiny(np.zeros(shape, np.uint8), tmp_path)
    assert not list(tmp_path.iterdir())


def test_get_batches_of_the_article_takes_the_batch_size_alone(cats: np.ndarray, tmp_path: Path) -> None:
    asked = []

    def get_batches(batch_size: int) -> list[np.ndarray]:
        asked.append(batch_size)
        return [scale_pixels(cats[:batch_size])]

    losses, samples = train_tiny(
        cats, tmp_path, get_batches, epoch_count=2, batch_size=8, sample_every_steps=0
    )
    assert asked == [8, 8]
    assert len(losses) == 2
    assert samples == [], "an interval of 0 makes no grids"
    assert not list(tmp_path.rglob("*.png"))


def test_get_batches_that_takes_an_epoch_is_told_which_one(whole: Run) -> None:
    assert whole.epochs == [0, 1, 2]


def test_progress_shows_the_losses_and_the_speed(short: Short) -> None:
    last = re.split(r"[\r\n]", short.stderr.strip())[-1]
    d_loss, g_loss = short.losses[-1]
    assert f"epoch 1/1, step 3, D {d_loss:.3f}, G {g_loss:.3f}, " in last
    assert "images/s" in last


# What a step does


def test_a_step_trains_d_and_then_g_on_the_same_images_and_latents(cats: np.ndarray, short: Short) -> None:
    training = [feed for feed in short.feeds if "scaled_pixels" in feed]
    assert len(training) == 3, "one session call a step: both networks get the same"
    for feed in training:
        assert feed["learning_rate_D"] == 3e-5
        assert feed["learning_rate_G"] == 4e-5
        assert len(feed["scaled_pixels"]) == len(feed["input_z"])
    images = np.concatenate([feed["scaled_pixels"] for feed in training])
    assert np.array_equal(images, np.concatenate([*Dataset.from_array(cats).get_batches(16, epoch=0)]))
    latents = np.concatenate([feed["input_z"] for feed in training])
    assert latents.shape == (40, 8)
    assert len(np.unique(latents)) == latents.size, "every image gets latents of its own"
    assert -1 <= latents.min() < -0.9  # uniform in [-1, 1], no other law
    assert 0.9 < latents.max() <= 1
    assert abs(latents.mean()) < 0.15
    assert abs(latents.std() - 1 / np.sqrt(3)) < 0.06


@pytest.mark.tutorial_bug(15)
@pytest.mark.tutorial_bug(16)
def test_a_networks_step_moves_its_own_weights_and_moving_averages_alone_and_gs_once(
    cats: np.ndarray,
) -> None:
    training_runs = []
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        input_real, input_z, lr_G, lr_D = model_inputs((32, 32, 3), 8)
        losses = model_loss(input_real, input_z, 3, 0.2, base_filters=4)
        train_opts = model_optimizers(*losses, lr_D, lr_G, 0.5)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        norm = next(op for op in graph.get_operations() if "batch_trans_conv2/FusedBatchNorm" in op.name)
        sess.run(tf.global_variables_initializer())
        for index in range(4):  # two steps
            feed = {
                input_real: scale_pixels(cats[16 * (index // 2) :][:16]),
                input_z: random_latents(16, 8, index // 2),
                lr_G: 2e-4,
                lr_D: 2e-4,
            }
            before = sess.run(variables)
            # The batch's statistics come from the pass that normalizes with them.
            _, batch_mean = sess.run([train_opts[index % 2], norm.outputs[1]], feed)
            training_runs.append((before, sess.run(variables), batch_mean))
    for index, (before, after, batch_mean) in enumerate(training_runs):
        network = "generator" if index % 2 else "discriminator"
        moved = {name for name in networks(before) if not np.array_equal(before[name], after[name])}
        own = {name for name in networks(before) if name.startswith(network)}
        assert moved <= own, f"the step of the {network} moves {sorted(moved - own)}"
        # Biases before batch norm get no gradient but rounding errors.
        still = {name for name in own - moved if not name.endswith("bias")}
        assert not still, f"the step of the {network} leaves {sorted(still)} as it is"
        if network == "generator":
            name = "generator/batch_trans_conv2/moving_mean"
            once = 0.99 * before[name] + 0.01 * batch_mean
            np.testing.assert_allclose(after[name], once, rtol=1e-4, atol=1e-8)


def networks(values: Values) -> list[str]:
    """The names of the networks' own variables: weights and moving averages, no Adam slots."""
    ends = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
    return [
        name for name in values if name.startswith(("generator/", "discriminator/")) and name.endswith(ends)
    ]


@pytest.mark.tutorial_bug(9)
def test_the_graph_is_finalized_before_the_first_step_and_gains_no_op(
    cats: np.ndarray, tmp_path: Path
) -> None:
    graphs, op_counts = [], []

    def look(_: np.ndarray) -> dict[str, float]:
        graph = tf.get_default_graph()
        assert graph.finalized
        graphs.append(graph)
        op_counts.append(len(graph.get_operations()))
        return {}

    train_tiny(
        cats,
        tmp_path,
        evaluate=look,
        epoch_count=2,
        sample_every_steps=1,
        save_every_epochs=1,
        average_decay=0.9,
    )
    assert len(graphs) == 6
    assert all(graph is graphs[0] for graph in graphs)
    assert set(op_counts) == {len(graphs[0].get_operations())}


def test_without_a_limit_of_epochs_the_steps_decide(
    cats: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="give epoch_count or step_count"):
        train_tiny(cats, tmp_path, epoch_count=None)
    assert not list(tmp_path.iterdir())
    assert len(train_tiny(cats, tmp_path, epoch_count=None, step_count=4)[0]) == 4
    assert "step 4/4, D" in capsys.readouterr().err


@pytest.mark.parametrize("end", [{"epoch_count": 2}, {"epoch_count": 9, "step_count": 6}])
def test_learning_rates_fall_in_a_straight_line_to_the_end(
    end: dict[str, Any], cats: np.ndarray, tmp_path: Path
) -> None:
    with recorded_feeds() as feeds:
        train_tiny(cats, tmp_path, learning_rate_D=3e-5, learning_rate_G=4e-5, decay_part=4 / 6, **end)
        train_tiny(cats, tmp_path, resume=True, learning_rate_D=3e-5, learning_rate_G=4e-5, epoch_count=3)
    training = [feed for feed in feeds if "scaled_pixels" in feed]
    expected = np.array([1, 1, 1, 0.75, 0.5, 0.25, *[1] * 3])
    assert np.allclose([feed["learning_rate_D"] for feed in training], expected * 3e-5, rtol=1e-6)
    assert np.allclose([feed["learning_rate_G"] for feed in training], expected * 4e-5, rtol=1e-6)


def test_pixels_train_like_their_floats(cats: np.ndarray, short: Short, tmp_path: Path) -> None:
    get_batches = partial(Dataset.from_array(cats, seed=0).get_batches, scale=False)
    with recorded_feeds() as feeds:
        train_tiny(
            cats, tmp_path, get_batches, learning_rate_D=3e-5, learning_rate_G=4e-5, sample_every_steps=2
        )
    assert [feed["pixels"].dtype for feed in feeds if "pixels" in feed] == [np.uint8] * 3
    assert not any("scaled_pixels" in feed for feed in feeds)
    # The first step alone: after it, Adam has made whole steps of rounding errors (test_graph.py). Pixels
    # that differ by a unit in the last place take the losses 2e-7 apart.
    losses = read_losses(tmp_path / "models" / HISTORY_NAME)
    np.testing.assert_allclose(losses[0], short.losses[0], rtol=5e-6)


def test_a_batch_is_made_while_the_step_on_the_one_before_runs(cats: np.ndarray, tmp_path: Path) -> None:
    second_made = threading.Event()

    def get_batches(batch_size: int) -> Iterator[np.ndarray]:
        yield scale_pixels(cats[:batch_size])
        second_made.set()
        yield scale_pixels(cats[:batch_size])

    def evaluate(_: np.ndarray) -> dict[str, float]:  # at the end of each step, before the next is begun
        return {"made": float(second_made.wait(timeout=20))}

    train_tiny(cats, tmp_path, get_batches, evaluate=evaluate, sample_every_steps=1)
    assert [record["made"] for record in read_history(tmp_path / "models" / HISTORY_NAME)] == [1, 1]


def test_an_error_in_making_a_batch_ends_training_as_it_is(cats: np.ndarray, tmp_path: Path) -> None:
    def get_batches(batch_size: int) -> Iterator[np.ndarray]:
        yield scale_pixels(cats[:batch_size])
        raise ZeroDivisionError("in the reader's own code")

    with pytest.raises(ZeroDivisionError, match="in the reader's own code"):
        train_tiny(cats, tmp_path, get_batches)


@pytest.mark.tutorial_bug(14)
def test_grayscale_trains_and_draws_in_one_channel(tmp_path: Path) -> None:
    _, samples = train_tiny(draw_cats(16, 32, mode="L"), tmp_path)
    values = read_checkpoint(tmp_path / "models" / "model.ckpt")
    assert values["generator/logits/kernel"].shape == (5, 5, 1, 4)
    assert read_checkpoint(latest(tmp_path / "models"))["discriminator/conv1/kernel"].shape == (5, 5, 1, 4)
    with Image.open(samples[0]) as grid:
        assert grid.mode == "L"
    assert sample(tmp_path / "models" / "model.ckpt", random_latents(2, 8)).shape == (2, 32, 32, 1)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_callers_array_alone(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(-1, 1, 32, dtype=np.float32)[:, None], (16, 32, 32, 3))
    batch = ramp + np.linspace(0, 0.1, 16, dtype=np.float32)[:, None, None, None]  # no two images alike
    original = batch.copy()
    batch.flags.writeable = False  # a change in place fails
    with recorded_feeds() as feeds:
        train_tiny(np.zeros((64, 32, 32, 3), np.uint8), tmp_path, lambda batch_size: [batch] * 4, flip=True)
    fed = [feed["scaled_pixels"] for feed in feeds if "scaled_pixels" in feed]
    assert len(fed) == 4
    mirrored = 0
    for images in fed:
        for image, source in zip(images, original, strict=True):
            is_mirrored = np.array_equal(image, source[:, ::-1])
            assert is_mirrored or np.array_equal(image, source)
            mirrored += is_mirrored
    assert 20 <= mirrored <= 44  # of 64; seeded, so it is always the same number
    assert np.array_equal(batch, original)


def test_tiny_nets_learn(cats: np.ndarray, tmp_path: Path) -> None:
    # G learns fast here: its pictures come from moving averages, which need hundreds of steps at 2e-4.
    # Rounding leads 81 steps elsewhere on each CPU, as another seed does. The bounds on what was learnt are
    # half of the least that seeds 0 to 9 gave.
    losses, samples = train_tiny(
        cats,
        tmp_path,
        epoch_count=27,  # 81 steps
        base_filters=8,
        z_dim=100,
        learning_rate_G=3e-3,
        sample_every_steps=80,
    )
    d_losses, g_losses = np.transpose(losses)
    assert np.isfinite(losses).all()
    assert d_losses[0] > 1.2, "at first, D knows nothing: 1.386 is guessing"
    assert d_losses[1:].min() < 1.386 - 0.25, "D learns to tell cats from fakes"
    assert d_losses[-20:].mean() < d_losses[0] - 0.12
    assert np.ptp(g_losses) > 0.5, "G's loss moves"
    start, end = (np.asarray(Image.open(file), float) for file in samples[:2])
    assert start.std() < 2, "at first, G's pictures are gray"
    assert end.std() > 3.5, "now they have light and dark"
    assert np.abs(end - start).mean() > 2.7


# Grids, checkpoints and intervals


@pytest.mark.tutorial_bug(21)
def test_all_grids_of_a_run_and_its_resumptions_show_the_same_latents(broken: Run) -> None:
    assert len(broken.grid_latents) == 7  # steps 0, 2, 3, 4, 6, 8, 9
    assert all(np.array_equal(z, random_latents(25, 8, seed=3)) for z in broken.grid_latents)


@pytest.mark.tutorial_bug(7)
@pytest.mark.tutorial_bug(22)
def test_intervals_count_what_their_names_say(
    cats: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_at = []
    monkeypatch.setattr(
        "catdcgan.training.show_image",
        lambda _: shown_at.append(len(read_history(tmp_path / "models" / HISTORY_NAME))),
    )
    _, samples = train_tiny(
        cats[:32],  # two steps an epoch
        tmp_path,
        epoch_count=5,
        save_every_epochs=2,
        sample_every_steps=3,
        show_every_epochs=2,
    )
    assert [file.name for file in samples] == [f"step_{step:07d}.png" for step in (0, 3, 6, 9, 10)]
    assert steps(numbered(tmp_path / "models")) == [0, 4, 8, 10]
    assert shown_at == [4, 8]
    counted = [
        [int(read_checkpoint(path)[name]) for name in COUNTERS] for path in numbered(tmp_path / "models")
    ]
    assert counted == [[0, 0, 0], [4, 2, 0], [8, 4, 0], [10, 5, 0]]


@pytest.mark.tutorial_bug(7)
def test_the_last_epoch_of_a_run_under_five_epochs_is_saved(run: Path) -> None:
    models = run / "models"
    assert steps(numbered(models)) == [0, 6]  # two epochs of three steps
    saved, everything = read_checkpoint(models / "model.ckpt"), read_checkpoint(models / "model.ckpt-6")
    assert same(saved, {name: everything[name] for name in saved})
    # All six steps are in it: Adam's beta2 power is 0.999 to the power of the steps taken, plus one.
    assert everything["beta2_power_1"] == pytest.approx(0.999**7, rel=1e-5)


def test_model_ckpt_is_the_generator_alone(run: Path) -> None:
    names = set(read_checkpoint(run / "models" / "model.ckpt"))
    everything = read_checkpoint(run / "models" / "model.ckpt-6")
    assert names == {name for name in everything if name.startswith("generator/") and "Adam" not in name}
    assert len(names) == 28  # dense and logits: 2 each; 4 convolutions: 2; 4 batch norms: 4


@pytest.mark.tutorial_bug(8)
def test_several_checkpoints_are_kept_and_the_oldest_go(cats: np.ndarray, tmp_path: Path) -> None:
    # Up to 11 steps: sorted by name, 10 and 11 would come before 9.
    train_tiny(cats[:8], tmp_path, epoch_count=11, save_every_epochs=1, keep_checkpoints=3)
    models = tmp_path / "models"
    names = [f"model.ckpt{step}" for step in ("", "-9", "-10", "-11")]
    assert {file.name for file in models.iterdir()} == {
        *(HISTORY_NAME, "run.json", ".lock", ".lock-holder"),
        *(name + ending for name in names for ending in (".index", ".data-00000-of-00001")),
    }
    weights = [read_checkpoint(path)["generator/dense/kernel"] for path in numbered(models)]
    assert not np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[2], read_checkpoint(models / "model.ckpt")["generator/dense/kernel"])


def test_the_last_grid_shows_what_model_ckpt_draws(run: Path) -> None:
    cells = sample(run / "models" / "model.ckpt", random_latents(25, 100, seed=0))
    grid = np.asarray(Image.open(run / "images" / "step_0000006.png"))
    rows = grid.reshape(5, 32, 5, 32, 3).swapaxes(1, 2).reshape(25, 32, 32, 3)
    assert np.abs(rows.astype(int) - cells).max() <= 1


# Starting, resuming, repeating


@pytest.mark.tutorial_bug(26)
def test_the_same_seed_gives_the_same_bits(cats: np.ndarray, whole: Run, tmp_path: Path) -> None:
    assert_same_run(train_run(cats, tmp_path, []).folder, whole.folder, read_checkpoint)


@pytest.mark.tutorial_bug(26)
def test_another_seed_gives_other_weights_and_losses(cats: np.ndarray, whole: Run, tmp_path: Path) -> None:
    losses, _ = train_tiny(cats, tmp_path, seed=4, step_count=2)
    assert losses != whole.losses[:2]
    kernels = [
        read_checkpoint(folder / "models" / "model.ckpt")["generator/dense/kernel"]
        for folder in (whole.folder, tmp_path)
    ]
    assert np.abs(kernels[0] - kernels[1]).mean() > 0.01  # a few steps of 2e-4 cannot do that


@pytest.mark.tutorial_bug(5)
@pytest.mark.tutorial_bug(6)
def test_a_resumed_run_ends_with_the_bits_of_one_without_a_break(whole: Run, broken: Run) -> None:
    assert steps(numbered(broken.folder / "models")) == [0, 3, 4, 9]
    assert_same_run(broken.folder, whole.folder, read_checkpoint)


@pytest.mark.tutorial_bug(6)
def test_a_resumed_run_goes_on_in_the_epoch_that_was_saved(broken: Run) -> None:
    # The first part stops right after the last batch of epoch 0, which the second asks for again in vain.
    assert broken.epochs == [0, 0, 1, 1, 2]


def test_a_resumed_run_returns_the_losses_and_grids_from_before_too(whole: Run, broken: Run) -> None:
    assert broken.losses == whole.losses
    assert len(whole.losses) == 9
    names = [[file.name for file in run.samples] for run in (whole, broken)]
    assert names[1] == sorted([*names[0], "step_0000003.png"])  # where it was stopped


@pytest.mark.tutorial_bug(7)
def test_ctrl_c_finishes_the_step_saves_and_draws(
    cats: np.ndarray, tmp_path: Path, handlers: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Watch, step: int, loss: float) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Watch, "check_losses", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(cats, tmp_path, epoch_count=3, sample_every_steps=2)
    assert [file.stem[-1] for file in sorted((tmp_path / "images").iterdir())] == [*"0245"]
    assert steps(numbered(tmp_path / "models")) == [0, 5]
    saved = read_checkpoint(tmp_path / "models" / "model.ckpt-5")
    assert [int(saved[name]) for name in COUNTERS] == [5, 1, 2]
    assert (tmp_path / "models" / "model.ckpt.index").is_file()
    assert len(read_history(tmp_path / "models" / HISTORY_NAME)) == 5
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.parametrize("names", [["SIGTERM"], ["SIGTERM", "SIGTERM"], ["SIGHUP"], ["SIGHUP", "SIGTERM"]])
def test_what_ends_programs_saves_first_and_ends_with_the_exit_status_of_a_shell(
    names: list[str], cats: np.ndarray, tmp_path: Path, handlers: dict[int, Any]
) -> None:
    numbers = [getattr(signal, name, signal.SIGTERM) for name in names]  # Windows has no SIGHUP
    with pytest.raises(SystemExit) as ended:
        train_tiny(cats, tmp_path, epoch_count=9, **signals_in_step(1, *numbers))
    assert ended.value.code == 128 + numbers[0]
    assert steps(numbered(tmp_path / "models")) == [0, 1]
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_second_ctrl_c_interrupts_at_once(
    cats: np.ndarray, tmp_path: Path, handlers: dict[int, Any]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_tiny(cats, tmp_path, **signals_in_step(1, signal.SIGINT, signal.SIGINT))
    assert read_history(tmp_path / "models" / HISTORY_NAME) == []
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_the_program_ignores_stays_ignored(cats: np.ndarray, tmp_path: Path) -> None:
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    losses, _ = train_tiny(cats, tmp_path, **signals_in_step(1, *STOPS))
    assert len(losses) == 3
    assert {signal.getsignal(number) for number in STOPS} == {signal.SIG_IGN}


@pytest.mark.usefixtures("handlers")
def test_a_lost_terminal_takes_neither_the_checkpoint_nor_the_exit_status(
    cats: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", 1) as lost, monkeypatch.context() as patch:
        patch.delitem(sys.modules, "ipykernel", raising=False)
        patch.setattr(sys, "stdout", lost)
        patch.setattr(sys, "stderr", lost)
        with pytest.raises(SystemExit, match=str(128 + STOPS[-1])):
            train_tiny(cats, tmp_path, **signals_in_step(2, STOPS[-1]))
    assert steps(numbered(tmp_path / "models")) == [0, 2]


def test_training_works_in_a_thread_that_gets_no_signals(cats: np.ndarray, tmp_path: Path) -> None:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(train_tiny(cats[:16], tmp_path)))
    thread.start()
    thread.join()
    assert len(results[0][0]) == 1


@pytest.mark.tutorial_bug(6)
def test_starting_anew_where_a_run_is_saved_is_refused(cats: np.ndarray, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=r"already holds a trained model \(model\.ckpt-6\): resume it"):
        train_tiny(cats, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.tutorial_bug(6)
def test_resuming_where_nothing_is_saved_is_refused(cats: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing to resume: no model\.ckpt in .*models"):
        train_tiny(cats, tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.tutorial_bug(6)
def test_resuming_with_nets_of_another_width_is_refused_and_changes_nothing(
    cats: np.ndarray, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    before = files(tmp_path)
    with pytest.raises(RunError, match=r"was started with base_filters 4, now 8: resume with the old"):
        train_tiny(cats, tmp_path, resume=True, base_filters=8, z_dim=100)
    assert files(tmp_path) == before
    # A run of an older version, or the author's checkpoint, has no record of its settings: the shapes tell.
    (tmp_path / "models" / "run.json").unlink()
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=r"expected \["):
        train_tiny(cats, tmp_path, resume=True, base_filters=8, z_dim=100)
    assert files(tmp_path) == before


def test_resuming_a_finished_run_takes_no_step(cats: np.ndarray, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    before = read_checkpoint(tmp_path / "models" / "model.ckpt-6")
    losses, samples = train_tiny(cats, tmp_path, epoch_count=2, z_dim=100, step_count=4, resume=True)
    assert losses == read_losses(run / "models" / HISTORY_NAME)
    assert [file.name for file in samples] == [file.name for file in sorted((run / "images").iterdir())]
    assert steps(numbered(tmp_path / "models")) == [0, 6]
    assert same(before, read_checkpoint(tmp_path / "models" / "model.ckpt-6"))


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before_and_no_more(
    cats: np.ndarray, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    models = tmp_path / "models"
    (models / ".new-model.ckpt").mkdir()
    (models / "model.ckpt-6.data-00000-of-00001").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"ckpt-6 is damaged.*ckpt-0 is used|no whole checkpoint") as said:
        train_tiny(cats, tmp_path, epoch_count=2, z_dim=100, resume=True, keep_checkpoints=1)
    assert len(said) == 2
    assert steps(numbered(models)) == [6]
    assert same(read_checkpoint(models / "model.ckpt-6"), read_checkpoint(run / "models" / "model.ckpt-6"))


def test_resuming_goes_on_from_a_checkpoint_with_none_of_our_own_variables(
    cats: np.ndarray, whole: Run, tmp_path: Path
) -> None:
    authors = {
        name: value
        for name, value in read_checkpoint(whole.folder / "models" / "model.ckpt-9").items()
        if name not in (*COUNTERS, PROBABILITY, SURENESS) and not name.endswith(AVERAGE)
    }
    assert len(authors) == 148
    write(tmp_path / "models" / "model.ckpt", authors)
    losses, samples = train_tiny(
        cats,
        tmp_path,
        resume=True,
        step_count=1,
        learning_rate_D=0.0,
        learning_rate_G=0.0,
        average_decay=0.9,
        augment=["color"],
        augment_target=0.6,
        sample_every_steps=1,
    )
    assert len(losses) == 1
    assert read_history(tmp_path / "models" / HISTORY_NAME)[0][PROBABILITY] == 0
    assert all(file.is_file() for file in samples)
    assert steps(numbered(tmp_path / "models")) == [1]
    values, drawn_with = (
        read_checkpoint(tmp_path / "models" / "model.ckpt-1"),
        read_checkpoint(tmp_path / "models" / "model.ckpt"),
    )
    for name in (
        name for name in networks(authors) if "moving_" not in name
    ):  # the step had learning rates of 0
        assert np.array_equal(values[name], authors[name])
        if name.startswith("generator"):  # averaging starts from his weights, not from random ones
            np.testing.assert_allclose(drawn_with[name], authors[name], rtol=1e-6)
    assert values["beta2_power"] == pytest.approx(authors["beta2_power"] * 0.999), "his Adam goes on"


def test_resuming_from_a_generator_alone_is_one_clear_error(
    cats: np.ndarray, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    for file in (run / "models").glob("model.ckpt.*"):
        shutil.copy(file, tmp_path / "models")
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt lacks .* of 148 variables; found generator/"):
        train_tiny(cats, tmp_path, z_dim=100, resume=True)
    assert files(tmp_path) == before


# Adaptive augmentation


def test_the_probability_of_augmentation_follows_d_and_is_noted_and_saved_for_resuming_alone(
    whole: Run,
) -> None:
    history = [record[PROBABILITY] for record in read_history(whole.folder / "models" / HISTORY_NAME)]
    assert history[0] == 0
    assert all(0 <= probability <= 1 for probability in history)
    assert len({round(probability, 3) for probability in history}) > 2
    (file,) = (whole.folder / "models").glob("events.out.tfevents.*")
    noted = {
        event.step: value.simple_value
        for event in tf.train.summary_iterator(str(file))
        for value in event.summary.value
        if value.tag == PROBABILITY
    }
    assert noted == pytest.approx({step: history[step - 1] for step in (4, 8)})
    everything = read_checkpoint(whole.folder / "models" / "model.ckpt-9")
    assert abs(everything[PROBABILITY] - history[-1]) < 0.17, "a step of 16 images in 100 at most"
    assert -1 <= everything[SURENESS] <= 1
    assert not [name for name in read_checkpoint(whole.folder / "models" / "model.ckpt") if "augment" in name]


def test_a_target_without_anything_to_augment_with_is_refused(cats: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--augment-target needs --augment"):
        train_tiny(cats, tmp_path / "run", augment_target=0.6)
    assert not (tmp_path / "run").exists()


# Averaged weights


def test_with_averaging_model_ckpt_and_the_grids_come_from_the_averages(whole: Run) -> None:
    everything = read_checkpoint(whole.folder / "models" / "model.ckpt-9")
    saved = read_checkpoint(whole.folder / "models" / "model.ckpt")
    assert len(saved) == 28
    assert same(saved, {name: everything[name + AVERAGE] for name in saved})
    kernel = "generator/trans_conv2/kernel"
    assert not np.allclose(saved[kernel], everything[kernel], atol=1e-5), "an average is not the last value"


def test_a_decay_near_0_averages_nothing_but_the_weights_after_the_step(
    cats: np.ndarray, tmp_path: Path
) -> None:
    # Read before the step, the averages would lag by one update, which is about the learning rate.
    train_tiny(cats, tmp_path, average_decay=1e-6, learning_rate_G=1e-2)
    everything, saved = (
        read_checkpoint(latest(tmp_path / "models")),
        read_checkpoint(tmp_path / "models" / "model.ckpt"),
    )
    assert np.abs(everything["generator/dense/bias"]).max() > 1e-3, "G trains with averaging on too; it was 0"
    for name, value in saved.items():
        np.testing.assert_allclose(value, everything[name], atol=1e-5, err_msg=name)


def test_averaging_turned_on_at_a_resume_starts_from_the_weights(
    cats: np.ndarray, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    before = read_checkpoint(latest(tmp_path / "models"))
    train_tiny(
        cats,
        tmp_path,
        epoch_count=3,
        step_count=7,
        z_dim=100,
        resume=True,
        average_decay=0.5,
        learning_rate_G=1e-2,
    )
    after, saved = (
        read_checkpoint(latest(tmp_path / "models")),
        read_checkpoint(tmp_path / "models" / "model.ckpt"),
    )
    name = "generator/dense/kernel"
    moved = np.abs(after[name] - before[name]) > 1e-3
    share = ((saved[name] - after[name]) / (before[name] - after[name]))[moved]
    assert moved.mean() > 0.5
    assert 0.01 < share.mean() <= 0.5, "between the weights before the step and those after it"
    assert np.ptp(share) < 0.01
