"""One session call a step: the same mathematics as the article's two, with averages and augmentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tiny_runs import AVERAGE, Values, author_variables, train_tiny

from catdcgan import draw_cats
from catdcgan.data.dataset import scale_pixels
from catdcgan.diff_augment import WINDOW, augment_images
from catdcgan.errors import InputError
from catdcgan.graph import training_graph
from catdcgan.model import model_inputs, model_loss, model_optimizers
from catdcgan.run.checkpoint import set_variables
from catdcgan.run.tensors import COUNTERS, TrainingGraph
from catdcgan.sampling import sampling_output
from catdcgan.settings import PROBABILITY, SURENESS, Settings
from catdcgan.tf1 import GPUS, tf
from catdcgan.tf1.device import check_bfloat16
from catdcgan.tf1.kernel_gradient import fast_kernel_gradients

pytestmark = pytest.mark.slow

STEPS = 20
DECAY = 0.5  # an average begins with a smaller one, (1 + step) / (10 + step), and reaches this at step 8
RATES = (4e-4, 2e-4)  # of G and D: not the same, so that they cannot be mixed up unnoticed


class Record(NamedTuple):
    """What was seen in training: variables before the first and after each step; (d_loss, g_loss)."""

    values: list[Values]
    losses: list[tuple[np.float32, np.float32]]


def tiny(**changes: Any) -> TrainingGraph:
    """The graph of the smallest nets."""
    settings = Settings(image_size=32, z_dim=8, base_filters=4)
    with tf.Graph().as_default():
        return training_graph(replace(settings, **changes))


def variables(graph: tf.Graph) -> dict[str, tf.Variable]:
    return {variable.op.name: variable for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The images and latents of each step; the last batch of an epoch is smaller."""
    cats, random = scale_pixels(draw_cats(40, 32, seed=1)), np.random.default_rng(2)
    for step in range(STEPS):
        images = cats[16 * (step % 3) :][:16]
        yield images, random.uniform(-1, 1, (len(images), 8)).astype(np.float32)


def feed(net: TrainingGraph, images: np.ndarray, z: np.ndarray, rates: tuple[float, float]) -> dict[Any, Any]:
    return {net.input_real: images, net.input_z: z, net.lr_G: rates[0], net.lr_D: rates[1]}


@pytest.fixture(scope="module")
def article() -> Record:
    """Train as the article does: a session call for D, and one for G."""
    # With our gradient of convolutions here too, as rounding would hide what is to be seen.
    with tf.Graph().as_default() as graph, nullcontext() if GPUS else fast_kernel_gradients():
        tf.set_random_seed(0)
        input_real, input_z, lr_G, lr_D = model_inputs((32, 32, 3), 8)
        d_loss, g_loss = model_loss(input_real, input_z, 3, 0.2, 0.1, 4)
        d_train_opt, g_train_opt = model_optimizers(d_loss, g_loss, lr_D, lr_G, 0.5)
        start = tf.global_variables_initializer()
    named = variables(graph)
    with tf.Session(graph=graph) as sess:
        sess.run(start)
        values, losses = [sess.run(named)], []
        for images, z in batches():
            fed = {input_real: images, input_z: z, lr_G: RATES[0], lr_D: RATES[1]}
            d_loss_now, _ = sess.run([d_loss, d_train_opt], fed)
            g_loss_now, _ = sess.run([g_loss, g_train_opt], fed)
            losses.append((d_loss_now, g_loss_now))
            values.append(sess.run(named))
    return Record(values, losses)


@pytest.fixture(scope="module")
def initial(article: Record) -> Values:
    return article.values[0] | dict.fromkeys(COUNTERS, np.array(0))


def train_shared(initial: Values, **changes: Any) -> Record:
    """Train by the step that training runs."""
    net = tiny(**changes)
    named = variables(net.step.graph)
    with tf.Session(graph=net.step.graph) as sess:
        # The average of a weight starts as the weight.
        set_variables(sess, [(named[name], initial[name.removesuffix(AVERAGE)]) for name in named])
        values, losses = [sess.run(named)], []
        for images, z in batches():
            metrics, _ = sess.run([net.metrics, net.step], feed(net, images, z, RATES))
            losses.append((metrics["d_loss"], metrics["g_loss"]))
            values.append(sess.run(named))
    return Record(values, losses)


@pytest.fixture(scope="module")
def shared(initial: Values) -> Record:
    return train_shared(initial)


@pytest.fixture(scope="module")
def averaged(initial: Values) -> Record:
    return train_shared(initial, average_decay=DECAY)


# The article's two session calls


def test_one_call_trains_both_nets_with_the_bits_of_the_articles_two_calls(
    shared: Record, article: Record
) -> None:
    # Bits, no tolerance: Adam makes a whole step of a rounding error, where a gradient is nothing else.
    for step, (ours, theirs) in enumerate(zip(shared.values, article.values, strict=True)):
        other = [name for name in theirs if ours[name].tobytes() != theirs[name].tobytes()]
        assert not other, f"after step {step}"
    assert shared.losses == article.losses
    # All this would be true of a step that does nothing.
    still = [name for name, value in shared.values[0].items() if (value == shared.values[-1][name]).all()]
    assert set(still) == {"epoch", "epoch_step"}
    assert len(set(shared.losses)) == STEPS


def test_every_step_is_counted_and_nothing_else_is(shared: Record) -> None:
    assert [int(values["global_step"]) for values in shared.values] == list(range(STEPS + 1))
    assert {int(values[name]) for values in shared.values for name in ("epoch", "epoch_step")} == {0}


def test_the_graph_holds_the_articles_variables_and_three_counters(shared: Record, article: Record) -> None:
    assert set(shared.values[0]) == set(article.values[0]) | {*COUNTERS}


def test_at_full_width_the_variables_are_those_of_the_authors_checkpoint_and_three_counters() -> None:
    expected = author_variables()
    assert len(expected) == 148
    graph = tiny(image_size=128, z_dim=100, base_filters=64).step.graph
    assert sorted(expected + [(name, "[]", "int64") for name in COUNTERS]) == sorted(
        (name, str(v.shape.as_list()), v.dtype.base_dtype.name) for name, v in variables(graph).items()
    )
    # A variable can also be in the graph and not in the collection.
    assert [op.type for op in graph.get_operations()].count("VarHandleOp") == 151


# Averages


def test_the_averages_are_exponential_moving_averages_of_the_weights_after_each_step(
    averaged: Record,
) -> None:
    names = [name for name in averaged.values[0] if name.startswith("generator/") and "Adam" not in name]
    names = [name for name in names if not name.endswith(AVERAGE)]
    assert len(names) == 28
    expected = {name: averaged.values[0][name].astype(float) for name in names}
    for step, values in enumerate(averaged.values[1:], start=1):
        decay = min(DECAY, (1 + step) / (10 + step))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * values[name]
            np.testing.assert_allclose(
                values[name + AVERAGE], expected[name], rtol=1e-5, atol=1e-7, err_msg=f"{name}, step {step}"
            )


def test_averaging_leaves_training_as_it_is(shared: Record, averaged: Record) -> None:
    assert averaged.losses == shared.losses
    for ours, theirs in zip(averaged.values, shared.values, strict=True):
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
        assert {name for name in ours if name not in theirs} == {
            name + AVERAGE for name in theirs if name.startswith("generator/") and "Adam" not in name
        }


# Augmentation


def test_each_use_of_each_step_is_augmented_with_random_numbers_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs, seeds, changed = [], [], []

    def augment(images: tf.Tensor, policy: list[str], seed: tf.Tensor, *_: None) -> tf.Tensor:
        inputs.append(images)
        seeds.append(seed)
        changed.append(
            augment_images(tf.ones_like(images), policy, seed)
        )  # shows the numbers, not the images
        return augment_images(images, policy, seed)

    monkeypatch.setattr("catdcgan.graph.augment_images", augment)
    net = tiny(augment=("color",), seed=7)
    assert len(inputs) == 3, "real images and fakes for D, and fakes for G"
    assert inputs[0] is net.input_real
    assert inputs[1] is inputs[2]
    named = variables(net.step.graph)
    fed = feed(net, *next(batches()), (0.0, 0.0))
    drawn, pictures = [], []
    with net.step.graph.as_default():
        start = tf.global_variables_initializer()
    with tf.Session(graph=net.step.graph) as sess:
        sess.run(start)
        for step in (0, 1, 2, 50):
            set_variables(sess, [(named["global_step"], step)])
            now_drawn, now_pictures = sess.run([seeds, changed], fed)
            drawn += [tuple(seed) for seed in now_drawn]
            pictures += [picture.tobytes() for picture in now_pictures]
    assert {seed for seed, _ in drawn} == {7}
    assert len(set(drawn)) == len(set(pictures)) == 12


def test_a_step_is_augmented_alike_whenever_it_is_taken(initial: Values) -> None:
    fed_batch = next(batches())
    losses: dict[int, list[tuple[float, ...]]] = {}
    for steps in ([0, 5, 0], [5, 0]):  # as two programs might take them
        net = tiny(augment=("cutout",))
        named = variables(net.step.graph)
        with tf.Session(graph=net.step.graph) as sess:
            set_variables(sess, [(named[name], initial[name]) for name in named])
            for step in steps:
                # Nothing is learnt, and no loss depends on the moving averages: only the step differs.
                set_variables(sess, [(named["global_step"], step)])
                metrics, _ = sess.run([net.metrics, net.step], feed(net, *fed_batch, (0.0, 0.0)))
                losses.setdefault(step, []).append(tuple(map(float, metrics.values())))
                assert int(sess.run(named["global_step"])) == step + 1
    assert all(np.isfinite(same).all() and len(set(same)) == 1 for same in losses.values())
    assert losses[0][0] != losses[5][0]


def test_the_probability_of_augmentation_follows_what_d_says_of_real_images(
    initial: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rise = 0.3, 160
    monkeypatch.setattr("catdcgan.diff_augment.RISE", rise)
    net = tiny(augment=("cutout",), augment_target=target)
    named = variables(net.step.graph)
    assert named.keys() - initial.keys() == {PROBABILITY, SURENESS}
    average = probability = 0.0
    seen = []
    with tf.Session(graph=net.step.graph) as sess:
        set_variables(sess, [(variable, initial.get(name, np.array(0))) for name, variable in named.items()])
        outputs = net.metrics["d_real"].op.inputs[0]
        for images, z in islice(batches(), 6):
            fetches = [net.metrics, outputs, net.step]
            metrics, said, _ = sess.run(fetches, feed(net, images, z, (4e-4, 2e-3)))
            assert metrics[PROBABILITY] == pytest.approx(probability), "that of this step, not of the next"
            average += (np.sign(said - 0.5).mean() - average) / WINDOW
            probability = np.clip(probability + np.sign(average - target) * len(images) / rise, 0, 1)
            np.testing.assert_allclose(sess.run(named[SURENESS]), average, atol=1e-6)
            np.testing.assert_allclose(sess.run(named[PROBABILITY]), probability, atol=1e-6)
            seen.append(probability)
    assert len(set(seen)) > 2


# Pixels


def test_pixels_are_scaled_to_the_range_of_tanh() -> None:
    net = tiny()
    pixels = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    with tf.Session(graph=net.step.graph) as sess:
        scaled = sess.run(net.input_real, {net.pixels: pixels})
    # A pixel over 127.5 is below 2, and is rounded on both sides, here perhaps as a product with 1 / 127.5.
    np.testing.assert_allclose(scaled, scale_pixels(pixels), rtol=0, atol=2 * np.spacing(np.float32(2)))


# XLA and mixed precision: what they change in speed shows on a GPU only, what they must not change shows here


class Still(NamedTuple):
    """What a step computes that moves no weight."""

    losses: np.ndarray
    gradients: Values  # Adam's first moments, which are the gradients times 1 - beta1
    ran: list[str]  # types of operations


def stand_still(net: TrainingGraph, values: Values) -> Still:
    """Take one step at learning rates of 0.

    No loss after a step of Adam is compared: where a gradient is nearly 0, Adam makes a whole step of its
    rounding error, which differs between CPUs.
    """
    named = variables(net.step.graph)
    # The batch norm after a convolution takes its bias away again: that one's gradient is rounding alone.
    moments = {name: v for name, v in named.items() if re.search(r"(?<!conv\d/bias)/Adam$", name)}
    ran = tf.RunMetadata()
    with tf.Session(graph=net.step.graph) as sess:
        set_variables(sess, [(named[name], values[name]) for name in named])
        fetches, fed = [list(net.metrics.values()), net.step], feed(net, *next(batches()), (0.0, 0.0))
        losses, _ = sess.run(fetches, fed, tf.RunOptions(output_partition_graphs=True), ran)
        gradients = sess.run(moments)
    return Still(np.array(losses), gradients, [op.op for graph in ran.partition_graphs for op in graph.node])


def apart(one: Still, other: Still) -> np.ndarray:
    """How far the losses are apart at most, and the gradients, as shares of their lengths, on average."""
    shares = [
        np.linalg.norm(one.gradients[name] - g) / np.linalg.norm(g) for name, g in other.gradients.items()
    ]
    return np.array([np.abs(one.losses - other.losses).max(), np.mean(shares)])


def rounding(unit: float, plain: tuple[TrainingGraph, Still], initial: Values) -> np.ndarray:
    """How far a step changes if each weight is moved, up or down, by a unit of rounding (a share of it)."""
    random, found = np.random.default_rng(0), []
    for _ in range(3):
        moved = dict(initial)
        for name in filter(re.compile(".*/kernel$").match, initial):
            signs = random.choice([-1, 1], initial[name].shape)
            moved[name] = initial[name] * (1 + unit * signs).astype(np.float32)
        found.append(apart(stand_still(plain[0], moved), plain[1]))
    return np.asarray(np.max(found, axis=0))


@pytest.fixture(scope="module")
def plain(initial: Values) -> tuple[TrainingGraph, Still]:
    net = tiny(augment=("color",))
    return net, stand_still(net, initial)


def test_xla_compiles_the_step_and_takes_the_same_one(
    initial: Values, plain: tuple[TrainingGraph, Still]
) -> None:
    compiled = stand_still(tiny(augment=("color",), xla=True), initial)
    assert compiled.ran.count("_XlaRun") > 10
    np.testing.assert_array_less(apart(compiled, plain[1]), 10 * rounding(2**-23, plain, initial))


def test_xla_leaves_the_initial_weights_as_the_seed_draws_them() -> None:
    kernels = []
    for xla in (False, True):
        net = tiny(xla=xla)
        named = variables(net.step.graph)
        drawn = [named[f"{scope}/dense/kernel"] for scope in ("generator", "discriminator")]
        with tf.Session(graph=net.step.graph) as sess:
            sess.run([variable.initializer for variable in drawn])
            kernels.append(sess.run(drawn))
    for plain, compiled in zip(*kernels, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("bfloat16")
def test_mixed_precision_takes_nearly_the_same_step(
    initial: Values, plain: tuple[TrainingGraph, Still]
) -> None:
    mixed = stand_still(tiny(augment=("color",), mixed_precision=True), initial)
    np.testing.assert_array_less(apart(mixed, plain[1]), 3 * rounding(2**-8, plain, initial))
    assert apart(mixed, plain[1])[1] > 2**-8, "these are float32's gradients"


@pytest.mark.usefixtures("bfloat16")
def test_mixed_precision_multiplies_and_passes_on_in_bfloat16_and_does_all_else_in_float32() -> None:
    products = {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul"}
    kinds: dict[str, set[str]] = {}
    net = tiny(mixed_precision=True, average_decay=DECAY)
    drawing = sampling_output_operations(net)
    for op in net.step.graph.get_operations():
        if op.outputs and op not in drawing:
            kinds.setdefault(op.type, set()).add(op.outputs[0].dtype.base_dtype.name)
        if op.type.startswith("FusedBatchNorm") and op not in drawing:
            kinds.setdefault("statistics", set()).update(value.dtype.name for value in op.outputs[1:])
    assert {kind for op in products & kinds.keys() for kind in kinds[op]} == {"bfloat16"}
    assert {"Conv2D", "Conv2DBackpropInput", "MatMul"} <= kinds.keys()
    for op in ("FusedBatchNormV3", "FusedBatchNormGradV3"):
        assert kinds[op] == {"bfloat16"}, op
    for op in ("statistics", "ResourceApplyAdam", "Sigmoid", "Log1p", "Tanh"):
        assert kinds.get(op, {"float32"}) == {"float32"}, op
    assert {variable.dtype.base_dtype.name for variable in variables(net.step.graph).values()} == {
        "float32",
        "int64",
    }
    assert {op.outputs[0].dtype.name for op in drawing if op.type in products} == {"float32"}


@pytest.mark.usefixtures("bfloat16")
def test_mixed_precision_leaves_a_bias_alone_that_batch_norm_takes_away(initial: Values) -> None:
    net = tiny(mixed_precision=True)
    named = variables(net.step.graph)
    with tf.Session(graph=net.step.graph) as sess:
        set_variables(sess, [(named[name], values) for name, values in initial.items() if name in named])
        sess.run(net.step, feed(net, *next(batches()), RATES))
        moved = {name for name in named if not np.array_equal(sess.run(named[name]), initial[name])}
    biases = {name for name in named if name.endswith("/bias")}
    assert biases & moved == {"discriminator/dense/bias", "generator/dense/bias", "generator/logits/bias"}
    assert {name for name in named if name.endswith(("/kernel", "/gamma", "/beta"))} <= moved


@pytest.mark.parametrize(
    ("variables", "flags", "refused"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, "avx2 avx512f", "ONEDNN_MAX_CPU_ISA=avx2"),
        ({"DNNL_MAX_CPU_ISA": "AVX2_VNNI_2"}, "avx512f", "unset DNNL_MAX_CPU_ISA"),
        ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, "avx_ne_convert", "ONEDNN_MAX_CPU_ISA=SSE41"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI_2"}, "avx_ne_convert", None),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, "avx512f", None),  # the first counts
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "avx512f", None),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "avx2", None),  # TensorFlow multiplies itself
        ({"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0"}, "avx512f", None),
        ({}, "avx512f", None),
    ],
)
def test_mixed_precision_is_refused_where_onednn_would_end_the_process_and_nowhere_else(
    variables: dict[str, str],
    flags: str,
    refused: str | None,
    cpu: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cpu.write_text(f"flags : fpu {flags} sse\n")
    if not refused:
        check_bfloat16()
        return
    with pytest.raises(InputError, match=refused):
        train_tiny(draw_cats(4, 32), tmp_path / "run", mixed_precision=True)
    assert not (tmp_path / "run").exists()


def sampling_output_operations(net: TrainingGraph) -> set[Any]:
    """The operations of the generator that draws the sample grids."""
    with net.step.graph.as_default():
        todo = [sampling_output(net.input_z, 3).op]
    found = set()
    while todo:
        op = todo.pop()
        if op not in found:
            found.add(op)
            todo += [tensor.op for tensor in op.inputs]
    return found


# Finite numbers


def test_one_value_that_is_no_finite_number_is_found_in_any_variable(initial: Values) -> None:
    net = tiny(average_decay=DECAY)
    named = variables(net.step.graph)
    floats = {name: initial[name.removesuffix(AVERAGE)] for name in named if name not in COUNTERS}
    assert len(floats) == 148 + 28
    with tf.Session(graph=net.step.graph) as sess:
        set_variables(sess, [(named[name], value) for name, value in floats.items()])
        assert sess.run(net.all_finite)
        for number, (name, value) in enumerate([*floats.items()][::7]):  # all of them would take long
            bad = np.array(value)
            bad.flat[-1] = (np.nan, np.inf, -np.inf)[number % 3]
            set_variables(sess, [(named[name], bad)])
            assert not sess.run(net.all_finite), name
            set_variables(sess, [(named[name], value)])
        assert sess.run(net.all_finite)
