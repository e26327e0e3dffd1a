"""The faster gradient of convolutions is TensorFlow's own, up to rounding."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from catdcgan.tf1 import tf
from catdcgan.tf1.kernel_gradient import LARGEST_SIDE, fast_kernel_gradients
from catdcgan.tf1.layers import conv2d, conv2d_transpose

LAYERS = {"conv2d": conv2d, "conv2d_transpose": conv2d_transpose}


def gradients(
    layer: str, size: tuple[int, int], fast: bool, padding: str = "SAME", stride: int = 2, kernel: int = 5
) -> tuple[list[np.ndarray], list[str]]:
    """The gradients of a layer to its input and kernel, and the types of their operations."""
    random = np.random.default_rng(0)
    images = random.normal(size=(3, *size, 4)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        inputs = tf.placeholder(tf.float32, (None, *size, 4))
        with fast_kernel_gradients() if fast else nullcontext():
            outputs = LAYERS[layer](inputs, 6, kernel, stride, padding)
        weights = random.normal(size=outputs.shape[1:]).astype(np.float32)  # each place has its own gradient
        variable = tf.trainable_variables()[0]
        before = set(graph.get_operations())
        found = tf.gradients(tf.reduce_sum(outputs * outputs * weights), [inputs, variable])
        made = [op.type for op in graph.get_operations() if op not in before]
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            return sess.run(found, {inputs: images}), made


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(8, 8), (7, 12)])
def test_it_is_tensorflows_own_up_to_rounding(
    layer: str, stride: int, kernel: int, size: tuple[int, int]
) -> None:
    own, own_types = gradients(layer, size, False, stride=stride, kernel=kernel)
    fast, fast_types = gradients(layer, size, True, stride=stride, kernel=kernel)
    for ours, theirs in zip(fast, own, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    assert "Conv2DBackpropFilter" in own_types
    assert "Conv2DBackpropFilter" not in fast_types


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_large_images_and_those_without_padding_keep_tensorflows(layer: str, padding: str) -> None:
    side = 8 if padding == "VALID" else 2 * LARGEST_SIDE[tf.float32] + 2
    (own, _), (fast, types) = (gradients(layer, (side, side), fast, padding) for fast in (False, True))
    for ours, theirs in zip(fast, own, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())
    assert "Conv2DBackpropFilter" in types


@pytest.mark.parametrize(("kind", "side"), LARGEST_SIDE.items())
def test_each_type_has_its_own_limit(kind: tf.DType, side: int) -> None:
    for smaller, own in ((side, False), (side + 1, True)):
        with tf.Graph().as_default() as graph, fast_kernel_gradients():
            kernel = tf.zeros((5, 5, 4, 6), kind)
            outputs = tf.nn.conv2d(tf.zeros((3, 2 * smaller, 2 * smaller, 4), kind), kernel, 2, "SAME")
            tf.gradients(outputs, kernel)
        assert ("Conv2DBackpropFilter" in {op.type for op in graph.get_operations()}) == own
