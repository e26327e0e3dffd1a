"""Looking at the generator's cats must repeat, change nothing, and show what was asked for."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tiny_runs import build_generator, save_generator, train_tiny

from catdcgan import image_grid, random_latents, sample, show_generator_output
from catdcgan.images import to_pixels
from catdcgan.run import checkpoint
from catdcgan.run.checkpoint import Architecture
from catdcgan.run.checkpoint_files import ENDINGS
from catdcgan.sampling import BATCH_SIZE, sample_one_by_one, sampling_output
from catdcgan.settings import AUGMENT_POLICIES
from catdcgan.tf1 import tf

Z_DIM = 8


class Session(NamedTuple):
    """A session with a small generator in its graph, as during training."""

    sess: tf.Session
    input_z: tf.Tensor
    channels: int

    def show(self, path: Path, count: int = 5, save: bool = False, **options: Any) -> Image.Image:
        mode = "RGB" if self.channels == 3 else "L"
        options = {"show": False, **options}
        return show_generator_output(
            self.sess, count, self.input_z, self.channels, mode, path, save, **options
        )

    def operations(self) -> int:
        return len(self.sess.graph.get_operations())


def open_session(channels: int) -> Iterator[Session]:
    with tf.Graph().as_default():
        made = build_generator(Architecture(Z_DIM, 4, 32, channels))
        input_z = tf.get_default_graph().get_tensor_by_name("input_z:0")
        kernels = [variable for variable in made if variable.op.name.endswith("kernel")]
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            # A new generator, like one of a few steps, draws flat gray: larger kernels give it contrast.
            checkpoint.set_variables(
                sess, [(kernel, value * 6) for kernel, value in zip(kernels, sess.run(kernels), strict=True)]
            )
            yield Session(sess, input_z, channels)


@pytest.fixture
def colour() -> Iterator[Session]:
    yield from open_session(3)


@pytest.fixture
def gray() -> Iterator[Session]:
    yield from open_session(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the generator in `colour`."""
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    for session in open_session(3):
        save_generator(session.sess, path)
    return path


# --- from a checkpoint -------------------------------------------------------------------------------------


def test_finished_run_is_sampled_with_no_word_on_its_settings(run: Path) -> None:
    assert sample(run / "models" / "model.ckpt", random_latents(2, 100)).shape == (2, 32, 32, 3)


@pytest.mark.parametrize(
    "name", [".", "models", *(f"models/model.ckpt{ending}" for ending in (*ENDINGS, ".meta"))]
)
def test_checkpoint_may_be_named_by_its_files_or_by_the_folder_of_its_run(name: str, run: Path) -> None:
    path, z = run / "models" / "model.ckpt", random_latents(1, 100)
    assert checkpoint.read_architecture(run / name) == checkpoint.read_architecture(path)
    assert np.array_equal(sample(run / name, z), sample(path, z))


@pytest.mark.tutorial_bug(26)
def test_same_latents_draw_the_same_cats_and_others_draw_others(model: Path) -> None:
    first = sample(model, random_latents(4, Z_DIM, seed=0))
    assert first.shape == (4, 32, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(sample(str(model), random_latents(4, Z_DIM, seed=0)), first)
    other = sample(model, random_latents(4, Z_DIM, seed=1))
    assert all(np.abs(first[0].astype(int) - picture).mean() > 5 for picture in [*first[1:], *other])


def test_cat_does_not_depend_on_how_many_are_drawn_with_it(model: Path) -> None:
    """Else batches would show, as would a generator that normalizes with the batch as in training."""
    z = random_latents(BATCH_SIZE + 1, Z_DIM)
    everything = sample(model, z)
    assert len(everything) == BATCH_SIZE + 1
    for part in (slice(0, 1), slice(0, BATCH_SIZE), slice(BATCH_SIZE, None)):
        # Kernels differ with the batch size, so a value on the edge between two grays may round to the other.
        assert np.abs(everything[part].astype(int) - sample(model, z[part])).max() <= 1


def test_checkpoint_of_a_session_draws_the_sessions_cats(
    model: Path, colour: Session, tmp_path: Path
) -> None:
    pictures = sample(model, random_latents(5, Z_DIM, seed=0))
    assert pictures.std() > 5
    assert np.array_equal(np.asarray(image_grid(pictures)), np.asarray(colour.show(tmp_path / "-")))


@pytest.mark.tutorial_bug(10)
def test_half_range_doubles_the_contrast(model: Path) -> None:
    z = random_latents(3, Z_DIM)
    ours, his = sample(model, z).astype(float), sample(model, z, pixel_range=0.5).astype(float)
    assert np.abs(his - np.clip(2 * ours - 127.5, 0, 255)).max() <= 2
    assert his.std() > ours.std() * 1.2


@pytest.mark.tutorial_bug(1)
def test_slope_of_the_leaky_relu_can_be_given(model: Path) -> None:
    z = random_latents(2, Z_DIM)
    pictures = sample(model, z)
    assert np.array_equal(pictures, sample(model, z, alpha=0.2))
    assert not np.array_equal(pictures, sample(model, z, alpha=0.9))


@pytest.mark.parametrize("shape", [(4, Z_DIM - 1), (4, Z_DIM + 1), (Z_DIM,), (4, Z_DIM, 1)])
def test_latents_of_another_length_are_refused_with_both_lengths(shape: tuple[int, ...], model: Path) -> None:
    with pytest.raises(ValueError, match=rf"takes latents \(n, {Z_DIM}\)") as caught:
        sample(model, np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)
    assert str(model) in str(caught.value)


@pytest.mark.parametrize("z", [np.zeros((0, Z_DIM)), np.full((1, Z_DIM), np.nan)], ids=["none", "NaN"])
def test_latents_of_which_no_picture_can_be_made_are_refused(z: np.ndarray, model: Path) -> None:
    with pytest.raises(ValueError, match="at least one latent"):
        sample(model, z)


def test_sampling_leaves_the_users_own_graph_alone(model: Path) -> None:
    with tf.Graph().as_default() as graph:
        sample(model, random_latents(1, Z_DIM))
        assert graph.get_operations() == []


def test_images_come_one_by_one_from_one_restored_generator_a_batch_at_a_time(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def count(images: np.ndarray, pixel_range: float) -> np.ndarray:
        drawn.append(len(images))
        return to_pixels(images, pixel_range)

    z = random_latents(2 * BATCH_SIZE + 3, Z_DIM)
    expected = sample(model, z, pixel_range=0.5)
    for file in model.parent.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr("catdcgan.sampling.to_pixels", count)
    images = sample_one_by_one(tmp_path / "model.ckpt", z, pixel_range=0.5)
    first = next(images)
    assert drawn == [BATCH_SIZE]
    for file in tmp_path.iterdir():
        file.unlink()
    assert np.array_equal([first, *images], expected)
    assert drawn == [BATCH_SIZE, BATCH_SIZE, 3]


def test_user_has_his_own_graph_and_session_between_two_images(model: Path) -> None:
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        for _ in sample_one_by_one(model, random_latents(2, Z_DIM)):
            assert tf.get_default_graph() is graph
            assert tf.get_default_session() is sess
        assert graph.get_operations() == []


@pytest.mark.tutorial_bug(14)
def test_grayscale_works_from_the_checkpoint_to_the_file(gray: Session, tmp_path: Path) -> None:
    path = save_generator(gray.sess, tmp_path / "model.ckpt")
    pictures = sample(path, random_latents(5, Z_DIM, seed=0))
    assert pictures.shape == (5, 32, 32, 1)
    assert pictures.std() > 5
    grid = gray.show(tmp_path / "cats.png", save=True)
    assert grid.mode == "L"
    assert np.array_equal(np.asarray(grid), np.asarray(image_grid(pictures, "L")))
    with Image.open(tmp_path / "cats.png") as opened:
        assert opened.mode == "L"
        assert opened.size == (3 * 32, 2 * 32)


@pytest.mark.slow
def test_it_trains_and_draws_where_tensorflow_wants_a_seed_for_every_random_op(
    cats: np.ndarray, tmp_path: Path
) -> None:
    config = importlib.import_module("tensorflow.python.framework.config")  # here it can be turned off again
    config.enable_op_determinism()
    try:
        train_tiny(cats, tmp_path, step_count=1, augment=AUGMENT_POLICIES, average_decay=0.9)
        assert sample(tmp_path / "models" / "model.ckpt", random_latents(2, 8)).shape == (2, 32, 32, 3)
    finally:
        config.disable_op_determinism()


# --- from a session: the article's helper ------------------------------------------------------------------


@pytest.mark.tutorial_bug(9)
def test_fifty_grids_add_no_op_to_the_graph(colour: Session, tmp_path: Path) -> None:
    colour.show(tmp_path / "-")
    before = colour.operations()
    for number in range(50):
        colour.show(tmp_path / "-", count=1 + number % 3, seed=number)
    assert colour.operations() == before


@pytest.mark.tutorial_bug(9)
def test_grid_can_be_drawn_from_a_finalized_graph(colour: Session, tmp_path: Path) -> None:
    sampling_output(colour.input_z, 3)
    colour.sess.graph.finalize()
    before = colour.operations()
    colour.show(tmp_path / "-")
    assert colour.operations() == before


@pytest.mark.tutorial_bug(9)
def test_sampling_adds_no_variable_and_no_update(colour: Session, tmp_path: Path) -> None:
    with colour.sess.graph.as_default():
        variables = tf.global_variables()
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        values = colour.sess.run(variables)
        colour.show(tmp_path / "-")
        assert tf.global_variables() == variables
        assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == updates
        assert all(np.array_equal(*pair) for pair in zip(colour.sess.run(variables), values, strict=True))


def test_two_placeholders_in_one_graph_have_a_sampling_output_each(colour: Session) -> None:
    with colour.sess.graph.as_default():
        other = tf.placeholder(tf.float32, (None, Z_DIM), name="other_z")
        outputs = [sampling_output(placeholder, 3) for placeholder in (colour.input_z, other, colour.input_z)]
        assert outputs[0] is outputs[2]
        z = random_latents(2, Z_DIM)
        one, two = colour.sess.run(outputs[:2], {colour.input_z: z, other: z[::-1]})
        assert np.allclose(one, two[::-1], atol=1e-5)


@pytest.mark.tutorial_bug(9)
def test_session_of_another_graph_than_the_default_one_is_drawn_from(colour: Session, tmp_path: Path) -> None:
    expected = np.asarray(colour.show(tmp_path / "-"))
    with tf.Graph().as_default() as graph:
        assert np.array_equal(np.asarray(colour.show(tmp_path / "-")), expected)
        assert graph.get_operations() == []


@pytest.mark.tutorial_bug(21)
def test_every_grid_shows_the_same_latents_so_that_steps_compare(colour: Session, tmp_path: Path) -> None:
    first = np.asarray(colour.show(tmp_path / "-"))
    assert np.array_equal(np.asarray(colour.show(tmp_path / "-")), first)
    assert not np.array_equal(np.asarray(colour.show(tmp_path / "-", seed=1)), first)


@pytest.mark.tutorial_bug(21)
def test_grid_changes_when_the_generator_does(colour: Session, tmp_path: Path) -> None:
    first = np.asarray(colour.show(tmp_path / "-"))
    with colour.sess.graph.as_default():
        (bias,) = [variable for variable in tf.global_variables() if variable.op.name.endswith("logits/bias")]
    checkpoint.set_variables(colour.sess, [(bias, [3, 3, 3])])
    assert np.asarray(colour.show(tmp_path / "-")).mean() > first.mean() + 20


@pytest.mark.tutorial_bug(11)
@pytest.mark.tutorial_bug(12)
def test_grid_holds_the_generators_own_values_in_rows(colour: Session, tmp_path: Path) -> None:
    with colour.sess.graph.as_default():
        images = sampling_output(colour.input_z, 3)
    drawn = to_pixels(colour.sess.run(images, {colour.input_z: random_latents(5, Z_DIM, seed=0)}))
    grid = np.asarray(colour.show(tmp_path / "-", count=5))
    assert grid.shape == (2 * 32, 3 * 32, 3)
    for number in range(5):
        row, column = divmod(number, 3)
        cell = grid[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32]
        assert np.array_equal(cell, drawn[number])


@pytest.mark.tutorial_bug(10)
def test_grid_of_the_authors_weights_takes_his_range(colour: Session, tmp_path: Path) -> None:
    ours, his = (np.asarray(colour.show(tmp_path / "-", pixel_range=r)).astype(float) for r in (1.0, 0.5))
    drawn = ours[:32]  # the first row is full; places without a picture are black in both
    assert np.abs(his[:32] - np.clip(2 * drawn - 127.5, 0, 255)).max() <= 2


@pytest.mark.tutorial_bug(4)
@pytest.mark.tutorial_bug(20)
def test_grid_is_written_where_it_was_asked_for_and_its_folder_made(colour: Session, tmp_path: Path) -> None:
    file = tmp_path / "not" / "yet" / "cats.png"
    grid = colour.show(file, save=True)
    with Image.open(file) as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(grid))
    assert [path.name for path in file.parent.iterdir()] == ["cats.png"]


@pytest.mark.tutorial_bug(4)
def test_nothing_is_written_unless_asked_for(
    colour: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    colour.show(tmp_path / "not" / "cats.png", save=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("show", [True, False])
def test_grid_is_shown_only_if_asked_for(
    show: bool, colour: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr("catdcgan.sampling.show_image", shown.append)
    grid = colour.show(tmp_path / "-", show=show)
    assert shown == ([grid] if show else [])
