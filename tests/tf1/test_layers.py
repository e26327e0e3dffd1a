"""The four layers beside the originals, ``tf.layers`` of tf-keras, which run in a process of their own.

Both sides get the same inputs and weights. What is compared, and on which cases, is in original_layers.py.
"""

import os
import subprocess
import sys

import numpy as np
import original_layers
import pytest
from original_layers import CASES, LARGE_CASES

from catdcgan.tf1 import layers, tf

pytestmark = pytest.mark.slow

Measured = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Measured]:
    file = tmp_path_factory.mktemp("original") / "measured.npz"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", original_layers.__file__, file],
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:  # both sides at the same time
        ours = original_layers.measure(layers)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    with np.load(file) as original:
        return ours, dict(original)


@pytest.fixture(scope="module")
def ours(sides: tuple[Measured, Measured]) -> Measured:
    return sides[0]


@pytest.fixture(scope="module")
def original(sides: tuple[Measured, Measured]) -> Measured:
    return sides[1]


def assert_same(case: str, beginning: str, ours: Measured, original: Measured) -> Measured:
    """Compare the measures of a case whose names begin so, and return the original's."""
    expected = {key: value for key, value in original.items() if key.startswith(f"{case}: {beginning}")}
    assert expected, f"nothing was measured of {case}: {beginning}"
    for key, value in expected.items():
        if value.dtype.kind == "f":
            # Threads add up in any order, so the last bits differ from run to run.
            rounding = 1e-6 * np.abs(value).max()
            np.testing.assert_allclose(ours[key], value, rtol=0, atol=rounding, err_msg=key)
        else:
            assert ours[key].tolist() == value.tolist(), key
    return expected


def test_everything_is_measured_on_both_sides(ours: Measured, original: Measured) -> None:
    assert ours.keys() == original.keys()


@pytest.mark.parametrize("case", CASES)
def test_variables_have_the_originals_names_shapes_types_order_and_trainability(
    case: str, ours: Measured, original: Measured
) -> None:
    assert_same(case, "variables, in order", ours, original)
    assert_same(case, "trainable variables", ours, original)


@pytest.mark.parametrize("case", CASES)
def test_output_equals_the_originals_also_in_the_shape_known_before_running(
    case: str, ours: Measured, original: Measured
) -> None:
    assert len(assert_same(case, "output", ours, original)) == 4


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_inputs_and_of_every_variable_equal_the_originals(
    case: str, ours: Measured, original: Measured
) -> None:
    gradients = assert_same(case, "gradient of", ours, original)
    assert len(gradients) == 3, "the inputs, and two trainable variables in every layer"
    assert all(np.abs(gradient).max() > 0.01 for gradient in gradients.values()), "compares nothing"


@pytest.mark.parametrize("case", CASES)
def test_updates_are_as_many_as_the_originals_and_move_the_averages_as_far(
    case: str, ours: Measured, original: Measured
) -> None:
    assert_same(case, "number of updates", ours, original)
    training = CASES[case].arguments.get("training", False)
    assert ours[f"{case}: number of updates"] == (2 if training else 0)

    after = assert_same(case, "net/", ours, original)  # all variables, after each of four runs
    for key, value in after.items():
        moved = not np.array_equal(value, after[key.replace("after 4", "after 1")])
        assert moved == (training and "moving_" in key and "after 4" in key), key


@pytest.mark.parametrize("case", LARGE_CASES)
@pytest.mark.parametrize("initializer", ["truncated normal", "glorot"])
def test_same_seed_gives_the_same_bits_as_the_original(
    case: str, initializer: str, ours: Measured, original: Measured
) -> None:
    key = f"{case}, {initializer}: initial kernel"
    assert np.array_equal(ours[key], original[key])


@pytest.mark.parametrize("case", LARGE_CASES)
@pytest.mark.parametrize("initializer", ["default", "glorot"])
def test_kernels_are_glorot_uniform_also_by_default(
    case: str, initializer: str, ours: Measured, original: Measured
) -> None:
    for kernel in (values[f"{case}, {initializer}: initial kernel"] for values in (ours, original)):
        *area, inputs, outputs = kernel.shape
        limit = np.sqrt(6 / ((inputs + outputs) * np.prod(area)))
        assert 0.999 * limit < np.abs(kernel).max() <= limit
        assert abs(kernel.mean()) < 0.01 * limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("case", LARGE_CASES)
def test_truncated_normal_kernels_stay_within_two_standard_deviations(case: str, ours: Measured) -> None:
    kernel = ours[f"{case}, truncated normal: initial kernel"]
    assert 0.0399 < np.abs(kernel).max() <= 0.04
    assert abs(kernel.mean()) < 0.0003
    assert kernel.std() == pytest.approx(0.02 * 0.8796, rel=0.01)  # cutting the tails leaves 0.88 of it


@pytest.mark.parametrize("case", LARGE_CASES)
def test_biases_start_at_zero(case: str, ours: Measured, original: Measured) -> None:
    assert not assert_same(case + ", default", "initial bias", ours, original).popitem()[1].any()


def two_passes() -> tuple[list[tf.Tensor], list[tf.Operation], tf.Variable]:
    """Normalize two batches with one set of variables, as the discriminator does real and fake ones."""
    batches = [tf.placeholder(tf.float32, (None, 2, 2, 3)) for _ in range(2)]
    for batch, reuse in zip(batches, (False, True), strict=True):
        with tf.variable_scope("net", reuse=reuse):
            layers.batch_normalization(batch, momentum=0.5, training=True)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 4
    (moving_mean,) = (variable for variable in tf.global_variables() if "moving_mean" in variable.name)
    return batches, updates, moving_mean


def filled(value: float) -> np.ndarray:
    return np.full((4, 2, 2, 3), value)


def test_two_passes_move_the_averages_one_after_the_other() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        batches, updates, moving_mean = two_passes()
        read = moving_mean.read_value()
        sess.run(tf.global_variables_initializer())
        expected = 0.0
        for step in range(100):  # a race shows now and then only
            means = step + 1.0, -3.0 * step
            sess.run(updates, {batch: filled(mean) for batch, mean in zip(batches, means, strict=True)})
            for mean in means:
                expected = (expected + mean) / 2
            np.testing.assert_allclose(sess.run(read), [expected] * 3, rtol=1e-5)


def ancestors(operation: tf.Operation) -> set[tf.Operation]:
    """All operations that run before this one."""
    found, waiting = set(), [operation]
    while waiting:
        op = waiting.pop()
        for earlier in [tensor.op for tensor in op.inputs] + list(op.control_inputs):
            if earlier not in found:
                found.add(earlier)
                waiting.append(earlier)
    return found


def test_second_pass_cannot_overtake_the_first() -> None:
    # What the test above finds only with luck: here it is read off the graph.
    with tf.Graph().as_default():
        _, updates, _ = two_passes()
        for first, second in (updates[0::2], updates[1::2]):  # of the mean, of the variance
            between = ancestors(second) - ancestors(first)
            reads = [op for op in between if op.type == "ReadVariableOp" and first.inputs[0] in op.inputs]
            assert reads, "the average is not read before it is moved"
            assert all(first in ancestors(read) for read in reads)


def test_updates_of_the_first_pass_run_without_the_second() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        batches, updates, moving_mean = two_passes()
        sess.run(tf.global_variables_initializer())
        sess.run(updates[:2], {batches[0]: filled(8)})
        assert sess.run(moving_mean).tolist() == [4, 4, 4]
