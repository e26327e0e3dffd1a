"""A checkpoint restores exactly, the article author's one too, or says in one error what is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from pictures import files
from tiny_runs import Values, author_variables, build_generator, save_generator

from catdcgan import (
    CheckpointError,
    model_inputs,
    model_loss,
    model_optimizers,
    random_latents,
    read_architecture,
    sample,
)
from catdcgan.run import checkpoint
from catdcgan.run.checkpoint import Architecture, architecture, restore, restore_newest
from catdcgan.run.checkpoint_files import ENDINGS, NAME, NEW, latest, numbered, remove_old, tidy
from catdcgan.tf1 import tf

Saved = tuple[Path, Values]  # a checkpoint, and the values in it by name
SMALL = Architecture(z_dim=6, base_filters=4, image_size=32, channels=3)


def write(path: Path, tensors: Mapping[str, np.ndarray | np.float32]) -> Path:
    """Write a checkpoint of any tensors, without a graph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    return path


def write_generator(path: Path, made: Architecture, seed: int = 0) -> Values:
    """Save a new generator, and return the values of its variables by name."""
    with tf.Graph().as_default(), tf.Session() as sess:
        named = {variable.op.name: variable for variable in build_generator(made, seed)}
        sess.run(tf.global_variables_initializer())
        save_generator(sess, path)
        return dict(sess.run(named))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A small generator's checkpoint and what is in it. Not to be changed: see `copied`."""
    path = tmp_path_factory.mktemp("saved") / NAME
    return path, write_generator(path, SMALL)


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Path:
    """A copy of that checkpoint to damage."""
    for ending in ENDINGS:
        shutil.copy(f"{saved[0]}{ending}", tmp_path / f"{NAME}{ending}")
    return tmp_path / NAME


# TensorFlow takes a path to read from as a pattern, with these characters.
PATTERNS = ["run [v2]", "[!a]", "a{b,c}", *(["back\\slash", "*", "what?"] if os.name != "nt" else [])]


@pytest.mark.parametrize("folder", PATTERNS)
def test_a_folder_named_like_a_pattern_is_saved_to_and_read_from(folder: str, tmp_path: Path) -> None:
    values = write_generator(tmp_path / folder / NAME, SMALL)
    assert read_architecture(tmp_path / folder / NAME) == SMALL
    with tf.Graph().as_default(), tf.Session() as sess:
        variables = build_generator(SMALL)
        restore(sess, tmp_path / folder / NAME, variables)
        assert np.array_equal(sess.run(variables[0]), values[variables[0].op.name])


# --- what a checkpoint says of its generator ---------------------------------------------------------------


@pytest.mark.tutorial_bug(25)
@pytest.mark.parametrize(
    "made",
    [
        SMALL,
        Architecture(z_dim=100, base_filters=4, image_size=48, channels=1),
        Architecture(z_dim=1, base_filters=1, image_size=160, channels=3),
    ],
)
def test_settings_are_told_by_the_checkpoint_alone(made: Architecture, tmp_path: Path) -> None:
    write_generator(tmp_path / NAME, made)
    assert read_architecture(tmp_path / NAME) == made
    assert read_architecture(str(tmp_path / NAME)) == made
    pictures = sample(tmp_path / NAME, random_latents(2, made.z_dim))
    assert pictures.shape == (2, made.image_size, made.image_size, made.channels)


@pytest.mark.parametrize("name", [NAME, f"{NAME}-6"])
def test_every_checkpoint_of_a_training_run_tells_its_settings(name: str, run: Path) -> None:
    assert read_architecture(run / "models" / name) == Architecture(100, 4, 32, 3)


def test_architecture_refuses_features_that_make_no_square() -> None:
    with pytest.raises(ValueError, match="no square"):
        architecture({"generator/dense/kernel": [100, 5 * 16 * 4], "generator/logits/kernel": [5, 5, 3, 4]})


# --- restoring ---------------------------------------------------------------------------------------------


def test_restored_variables_have_the_saved_bits(saved: Saved) -> None:
    path, values = saved
    with tf.Graph().as_default():
        variables = build_generator(SMALL, seed=1)
        with tf.Session() as sess:
            restore(sess, path, variables)
            for variable, value in zip(variables, sess.run(variables), strict=True):
                assert np.array_equal(value, values[variable.op.name]), variable.op.name


@pytest.mark.tutorial_bug(9)
def test_restoring_adds_no_op_and_works_on_a_finalized_graph(saved: Saved) -> None:
    with tf.Graph().as_default() as graph:
        variables = build_generator(SMALL)
        graph.finalize()
        before = len(graph.get_operations())
        with tf.Session() as sess:
            for _ in range(3):
                restore(sess, saved[0], variables)
        assert len(graph.get_operations()) == before


def test_only_the_variables_asked_for_change(saved: Saved) -> None:
    path, values = saved
    with tf.Graph().as_default():
        variables = build_generator(SMALL, seed=1)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            kept = sess.run(variables[1:])
            restore(sess, path, variables[:1])
            assert np.array_equal(sess.run(variables[0]), values[variables[0].op.name])
            assert all(np.array_equal(*pair) for pair in zip(sess.run(variables[1:]), kept, strict=True))


def test_substitute_is_read_only_where_the_checkpoint_lacks_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / NAME, {"own": np.float32(1), "other": np.float32(2)})
    with tf.Graph().as_default():
        own, lacking, left = (tf.get_variable(name, (), tf.float32) for name in ("own", "lacking", "left"))
        with tf.Session() as sess:
            sess.run(left.initializer, {left.initializer.inputs[1]: 7})
            substitutes = {"own": "other", "lacking": "other", "left": None}
            restore(sess, path, [own, lacking, left], substitutes)
            assert sess.run([own, lacking, left]) == [1, 2, 7]


def test_substitute_that_is_not_there_either_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / NAME, {"own": np.float32(1)})
    with tf.Graph().as_default(), tf.Session() as sess:
        lacking = tf.get_variable("lacking", (), tf.float32)
        with pytest.raises(CheckpointError, match="lacks elsewhere"):
            restore(sess, path, [lacking], {"lacking": "elsewhere"})


# --- the checkpoint that the article's author published, at full width ------------------------------------


def author_values() -> dict[str, np.ndarray]:
    """Values for his variables that no two of them share, and such that the generator draws something."""
    noise = np.random.default_rng(0).normal(0, 0.03, 1_000_003).astype(np.float32)
    values = {}
    for number, (name, sides, _) in enumerate(author_variables()):
        shape = json.loads(sides)
        if name.endswith("kernel"):
            values[name] = np.resize(noise, shape) + np.float32(number * 1e-6)
        elif name.endswith(("gamma", "moving_variance")):
            values[name] = np.full(shape, 1 + number * 1e-3, np.float32)
        else:
            values[name] = np.full(shape, number * 1e-4, np.float32)
    return values


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A checkpoint like the author's, half a gigabyte, and its values; deleted after this module's tests."""
    folder = tmp_path_factory.mktemp("author")
    values = author_values()
    yield write(folder / NAME, values), values
    shutil.rmtree(folder)


def build_article() -> None:
    """The article's whole graph at full width, in the default graph."""
    input_real, input_z, lr_G, lr_D = model_inputs((128, 128, 3), 100)
    d_loss, g_loss = model_loss(input_real, input_z, 3, 0.2)
    model_optimizers(d_loss, g_loss, lr_D, lr_G, 0.5)


def test_authors_checkpoint_restores_every_variable_of_the_articles_graph(author: Saved) -> None:
    path, values = author
    assert Path(f"{path}{ENDINGS[0]}").stat().st_size == 498_252_864  # as his
    assert read_architecture(path) == Architecture(100, 64, 128, 3)
    with tf.Graph().as_default():
        build_article()
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        assert set(variables) == set(values)
        with tf.Session() as sess:
            restore(sess, path, tf.global_variables())
            for name, value in sess.run(variables).items():
                assert np.array_equal(value, values[name]), name


@pytest.mark.tutorial_bug(6)
def test_authors_checkpoint_restores_into_a_graph_with_our_counters_and_averages(author: Saved) -> None:
    path, values = author
    with tf.Graph().as_default():
        build_article()
        generators = tf.global_variables("generator")[2:8]  # six: the averages of all take seconds to make
        counters = [
            tf.get_variable(name, (), tf.int64, tf.zeros_initializer(), trainable=False)
            for name in ("global_step", "epoch", "epoch_step")
        ]
        averages = tf.train.ExponentialMovingAverage(0.999, num_updates=counters[0])
        averages.apply(generators)
        average_of = {averages.average(variable).op.name: variable.op.name for variable in generators}
        assert all(name.endswith("/ExponentialMovingAverage") for name in average_of)
        ours = len(counters) + len(average_of)
        assert len(tf.global_variables()) == 148 + ours
        with tf.Session() as sess:
            with pytest.raises(CheckpointError, match="lacks"):
                restore(sess, path, tf.global_variables())
            sess.run([counter.initializer for counter in counters])
            substitutes = {counter.op.name: None for counter in counters} | average_of
            restore(sess, path, tf.global_variables(), substitutes)
            assert sess.run(counters) == [0, 0, 0]
            for variable in generators:
                name, average = variable.op.name, averages.average(variable)
                assert np.array_equal(sess.run(variable), values[name]), name
                assert np.array_equal(sess.run(average), values[name]), average.op.name


@pytest.mark.tutorial_bug(10)
def test_authors_cats_are_viewed_in_his_range_of_pixels(author: Saved) -> None:
    z = random_latents(2, 100)
    ours = sample(author[0], z).astype(float)
    his = sample(author[0], z, pixel_range=0.5).astype(float)
    assert his.shape == (2, 128, 128, 3)
    assert ours.std() > 10
    assert not np.array_equal(his[0], his[1])
    # From the middle gray, half the range is twice the contrast; rounded twice, so within 2.
    assert np.abs(his - np.clip(2 * ours - 127.5, 0, 255)).max() <= 2


# --- checkpoints that cannot be used: one error, what was found, what was expected, nothing changed --------


class Target(NamedTuple):
    """A session and the variables of a generator in it, with values of their own."""

    sess: tf.Session
    variables: list[tf.Variable]

    def assert_refuses(self, path: Path, *words: str) -> None:
        """Restoring fails with an error that holds the words, and leaves every variable as it was."""
        before = self.sess.run(self.variables)
        with pytest.raises(CheckpointError) as caught:
            restore(self.sess, path, self.variables)
        for variable, old, new in zip(self.variables, before, self.sess.run(self.variables), strict=True):
            assert np.array_equal(old, new), f"{variable.op.name} changed"
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        for word in words:
            assert word in message


def open_target(made: Architecture) -> Target:
    with tf.Graph().as_default() as graph:
        variables = build_generator(made, seed=1)
        sess = tf.Session(graph=graph)
        sess.run(tf.global_variables_initializer())
        return Target(sess, variables)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    opened = open_target(SMALL)
    yield opened
    opened.sess.close()


def test_missing_checkpoint_is_said_with_what_is_there_instead(copied: Path, target: Target) -> None:
    wrong = copied.with_name("modle.ckpt")
    words = [f"no checkpoint {wrong}", f"expected the file {wrong}.", f"found {NAME} in", str(copied.parent)]
    target.assert_refuses(wrong, *words)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_architecture(wrong)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        sample(wrong, random_latents(1, SMALL.z_dim))


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_missing_checkpoint_in_an_empty_or_absent_folder(folder: str, tmp_path: Path, target: Target) -> None:
    (tmp_path / "empty").mkdir()
    target.assert_refuses(tmp_path / folder / NAME, "found no checkpoint in", str(tmp_path / folder))


def test_relative_path_is_said_with_the_folder_it_was_looked_for_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    monkeypatch.chdir(tmp_path)
    target.assert_refuses(Path("mine") / NAME, f"in {tmp_path / 'mine'}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_half_of_a_checkpoint_is_an_error_that_names_the_missing_file(
    ending: str, copied: Path, target: Target
) -> None:
    Path(f"{copied}{ending}").unlink()
    target.assert_refuses(copied, f"expected the file {copied}{ending}")
    with pytest.raises(CheckpointError, match="expected the file"):
        read_architecture(copied)


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: int(len(whole) * share)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": cut(0),
    "cut short": cut(0.6),
    "one byte short": lambda whole: whole[:-1],
    "garbage": lambda whole: np.random.default_rng(0).bytes(len(whole)),
    "a web page": lambda _: b"<!DOCTYPE html><title>404</title>",  # what a download makes of a wrong address
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_index_is_an_error_and_no_crash(damage: str, copied: Path, target: Target) -> None:
    index = Path(f"{copied}.index")
    index.write_bytes(DAMAGE[damage](index.read_bytes()))
    target.assert_refuses(copied, "damaged", "index")
    with pytest.raises(CheckpointError, match="damaged"):
        read_architecture(copied)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data_is_an_error_and_no_crash(damage: str, copied: Path, target: Target) -> None:
    data = Path(f"{copied}{ENDINGS[0]}")
    data.write_bytes(DAMAGE[damage](data.read_bytes()))
    target.assert_refuses(copied, "damaged", "cannot be read")


@pytest.mark.parametrize(("ending", "damage"), [*product(ENDINGS, DAMAGE), (ENDINGS[0], "gone")])
def test_a_damaged_newest_checkpoint_is_set_aside_for_the_one_before(
    ending: str, damage: str, copied: Path, saved: Saved, target: Target
) -> None:
    for step, file in product((3, 12), ENDINGS):
        shutil.copy(f"{copied}{file}", f"{copied}-{step}{file}")
    bad = Path(f"{copied}-12{ending}")
    if damage == "gone":
        bad.unlink()
    else:
        bad.write_bytes(DAMAGE[damage](bad.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{NAME}-12.*damaged-{NAME}-12, and .*{NAME}-3 is used instead"):
        restore_newest(target.sess, copied.parent, target.variables)
    for variable, value in zip(target.variables, target.sess.run(target.variables), strict=True):
        assert np.array_equal(value, saved[1][variable.op.name])
    assert numbered(copied.parent) == [Path(f"{copied}-3")]

    Path(f"{copied}-3.index").write_bytes(b"")
    left = files(copied.parent)
    with pytest.raises(CheckpointError, match=f"{NAME}-3 is damaged"):
        restore_newest(target.sess, copied.parent, target.variables)
    assert files(copied.parent) == left, "nothing is set aside if there is none to use instead"


@pytest.mark.parametrize("half", [[], ENDINGS[:1], ENDINGS[1:]])
def test_half_of_a_replacement_goes_and_the_checkpoint_stays(
    half: list[str], copied: Path, target: Target
) -> None:
    before = files(copied.parent)
    (copied.parent / f"{NEW}{NAME}").mkdir()
    for ending in half:
        shutil.copy(f"{copied}{ending}", copied.parent / f"{NEW}{NAME}")
    restore(target.sess, copied, target.variables)
    with pytest.warns(UserWarning, match="holds no whole checkpoint: it is removed"):
        tidy(copied.parent)
    assert files(copied.parent) == before
    restore(target.sess, copied, target.variables)


def test_one_wrong_byte_in_the_data_is_noticed(copied: Path, target: Target) -> None:
    data = Path(f"{copied}{ENDINGS[0]}")
    whole = bytearray(data.read_bytes())
    whole[len(whole) // 2] ^= 1
    data.write_bytes(whole)
    target.assert_refuses(copied, "damaged")


def test_checkpoint_of_another_program_is_named_as_such(tmp_path: Path, target: Target) -> None:
    foreign = {f"resnet/block{number}/weights": np.zeros(3, np.float32) for number in range(9)}
    path = write(tmp_path / NAME, foreign)
    words = ["generator/", "resnet/block0/weights", "9 in all"]  # what it lacks, what it has
    target.assert_refuses(path, "lacks", *words)
    with pytest.raises(CheckpointError) as caught:
        read_architecture(path)
    assert all(word in str(caught.value) for word in ["not a cat DCGAN", "expected", *words])
    with pytest.raises(CheckpointError, match="not a cat DCGAN"):
        sample(path, random_latents(1, 6))


@pytest.mark.parametrize(
    "shapes",
    [
        {"generator/dense/kernel": (6, 256)},
        {"generator/logits/kernel": (5, 5, 3, 4)},
        {"generator/dense/kernel": (6, 5 * 64), "generator/logits/kernel": (5, 5, 3, 4)},
        {"generator/dense/kernel": (6, 256, 1), "generator/logits/kernel": (5, 5, 3, 4)},
        {"generator/dense/kernel": (6, 256), "generator/logits/kernel": (3, 4)},
    ],
    ids=["no logits", "no dense", "no square", "dense of rank 3", "logits of rank 2"],
)
def test_generator_of_another_make_is_named_as_such(
    shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    path = write(tmp_path / NAME, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    with pytest.raises(CheckpointError, match="not a cat DCGAN"):
        read_architecture(path)


def test_one_lacking_variable_is_named(saved: Saved, tmp_path: Path, target: Target) -> None:
    values = dict(saved[1])
    del values["generator/batch_trans_conv3/moving_mean"]
    path = write(tmp_path / NAME, values)
    lacking = "lacks generator/batch_trans_conv3/moving_mean"
    target.assert_refuses(path, f"{lacking}, of {len(saved[1])} variables")
    with pytest.raises(CheckpointError, match=lacking):
        sample(path, random_latents(1, SMALL.z_dim))


@pytest.mark.parametrize(
    ("asked", "name", "found", "expected"),
    [
        (SMALL._replace(channels=1), "generator/logits/kernel", [5, 5, 3, 4], [5, 5, 1, 4]),
        (SMALL._replace(base_filters=5), "generator/dense/kernel", [6, 256], [6, 320]),
        (SMALL._replace(z_dim=7), "generator/dense/kernel", [6, 256], [7, 256]),
        (SMALL._replace(image_size=48), "generator/dense/kernel", [6, 256], [6, 576]),
    ],
    ids=["channels", "width", "z_dim", "image size"],
)
def test_other_shape_is_said_with_the_one_found_and_the_one_expected(
    asked: Architecture, name: str, found: list[int], expected: list[int], saved: Saved
) -> None:
    target = open_target(asked)
    target.assert_refuses(saved[0], f"holds {name} as {found}, expected {expected}")
    target.sess.close()


def test_checkpoint_error_is_a_value_error_so_that_callers_need_not_import_it() -> None:
    assert issubclass(CheckpointError, ValueError)


# --- saving ------------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(20)
def test_save_makes_the_folder_and_leaves_two_files_and_nothing_temporary(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    write_generator(folder / f"{NAME}-12", SMALL)
    assert list(files(folder)) == sorted(f"{NAME}-12{ending}" for ending in ENDINGS)


def test_save_replaces_an_older_checkpoint_whole(tmp_path: Path) -> None:
    write_generator(tmp_path / NAME, SMALL._replace(base_filters=6, z_dim=50))
    values = write_generator(tmp_path / NAME, SMALL, seed=2)
    assert read_architecture(tmp_path / NAME) == SMALL
    with tf.Graph().as_default(), tf.Session() as sess:
        variables = build_generator(SMALL)
        restore(sess, tmp_path / NAME, variables)
        assert np.array_equal(sess.run(variables[0]), values[variables[0].op.name])


@pytest.mark.tutorial_bug(8)
def test_failed_save_leaves_the_good_checkpoint_and_nothing_temporary(copied: Path) -> None:
    before = files(copied.parent)

    class FullDisk:
        def save(self, _: tf.Session, path: str, **__: object) -> None:
            Path(f"{path}{ENDINGS[0]}").write_bytes(b"half of it")
            raise OSError("disk full")

    with tf.Graph().as_default(), tf.Session() as sess, pytest.raises(OSError, match="disk full"):
        checkpoint.save(sess, FullDisk(), copied)
    assert files(copied.parent) == before


# --- several checkpoints in a folder -----------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        for ending in ENDINGS:
            (folder / f"{name}{ending}").touch()


@pytest.mark.tutorial_bug(8)
def test_run_keeps_a_numbered_checkpoint_beside_the_stable_one(run: Path) -> None:
    models = run / "models"
    assert numbered(models) == [models / f"{NAME}-0", models / f"{NAME}-6"]
    assert latest(models) == models / f"{NAME}-6"
    expected = [f"{name}{ending}" for name in (NAME, f"{NAME}-0", f"{NAME}-6") for ending in ENDINGS]
    assert sorted(name for name in files(models) if name.startswith(NAME)) == sorted(expected)


@pytest.mark.tutorial_bug(8)
def test_checkpoints_are_ordered_by_step_and_not_by_letters(tmp_path: Path) -> None:
    touch(tmp_path, NAME, *(f"{NAME}-{step}" for step in (1000, 9, 200, 0)))
    touch(tmp_path, f"{NAME}-5-old", f"my{NAME}-7", f"{NAME}-best", "other.ckpt-99999")
    (tmp_path / f"{NAME}-5000{ENDINGS[0]}").touch()  # without its index it is none
    assert numbered(tmp_path) == [tmp_path / f"{NAME}-{step}" for step in (0, 9, 200, 1000)]
    assert latest(tmp_path) == tmp_path / f"{NAME}-1000"


def test_stable_checkpoint_is_the_latest_if_there_is_no_other(tmp_path: Path) -> None:
    touch(tmp_path, NAME)
    assert numbered(tmp_path) == []
    assert latest(tmp_path) == tmp_path / NAME


def test_no_checkpoint_is_the_latest_in_an_empty_or_absent_folder(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "absent") is None
    remove_old(tmp_path / "absent", 1)


@pytest.mark.tutorial_bug(8)
@pytest.mark.parametrize(
    ("keep", "kept"), [(0, []), (1, [30]), (2, [4, 30]), (3, [1, 4, 30]), (9, [1, 4, 30])]
)
def test_newest_checkpoints_stay_and_the_stable_one_always(
    keep: int, kept: list[int], tmp_path: Path
) -> None:
    touch(tmp_path, NAME, f"{NAME}-1", f"{NAME}-4", f"{NAME}-30")
    remove_old(tmp_path, keep)
    names = [NAME, *(f"{NAME}-{step}" for step in kept)]
    assert list(files(tmp_path)) == sorted(f"{name}{ending}" for name in names for ending in ENDINGS)
