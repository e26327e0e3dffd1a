"""A faster gradient of convolutions with respect to their kernels, for CPUs.

TensorFlow's own gradient takes a third of a training step: where images are small and channels many, oneDNN's
kernel for it runs at half the speed of a forward convolution. But this gradient is itself a convolution, of
the images with the output's gradient, in which batch and channels swap roles and strides become dilations.
That runs at forward speed: a step of width 32 takes 7 % less time (benchmarks/README.md). In bfloat16
oneDNN's own kernel is the faster one for all but the smallest images.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any

from catdcgan.tf1 import tf

# Of the smaller images, in pixels; above it, TensorFlow's own gradient is faster.
LARGEST_SIDE = {tf.float32: 32, tf.bfloat16: 8}


def fast_kernel_gradients() -> AbstractContextManager[Any]:
    """Use this gradient for the convolutions created in the default graph inside the block.

    It sums in a different order than TensorFlow's, so it differs by rounding. Images above `LARGEST_SIDE` and
    convolutions without padding keep TensorFlow's gradient.
    """
    gradients = {"Conv2D": "FastConv2D", "Conv2DBackpropInput": "FastConv2DBackpropInput"}
    return tf.get_default_graph().gradient_override_map(gradients)  # type: ignore[no-any-return]


def _conv2d_gradient(op: tf.Operation, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    images, kernel = op.inputs
    strides, padding = op.get_attr("strides"), op.get_attr("padding").decode()
    to_images = tf.nn.conv2d_backprop_input(tf.shape(images), kernel, gradient, strides, padding)
    return to_images, _kernel_gradient(images, gradient, kernel.shape, strides, padding)


def _conv2d_transpose_gradient(op: tf.Operation, gradient: tf.Tensor) -> tuple[None, tf.Tensor, tf.Tensor]:
    _, kernel, inputs = op.inputs  # a transposed convolution: the first input is its output's shape
    strides, padding = op.get_attr("strides"), op.get_attr("padding").decode()
    to_inputs = tf.nn.conv2d(gradient, kernel, strides, padding)
    return None, _kernel_gradient(gradient, inputs, kernel.shape, strides, padding), to_inputs


def _kernel_gradient(
    images: tf.Tensor, gradient: tf.Tensor, kernel_shape: tf.TensorShape, strides: list[int], padding: str
) -> tf.Tensor:
    """Sum the products of images and gradient over the batch and all positions.

    Args:
        images: (n, height, width, channels), the larger images of the convolution.
        gradient: (n, height / stride, width / stride, filters), the smaller ones, or their gradient.
        kernel_shape: (kernel height, kernel width, channels, filters).
        strides: of the convolution, in the form of TensorFlow's operations: [1, down, right, 1].
        padding: "SAME" or "VALID".

    Returns:
        The kernel's gradient, of shape `kernel_shape`.
    """
    if padding != "SAME" or max(gradient.shape[1:3]) > LARGEST_SIDE[gradient.dtype]:
        return tf.nn.conv2d_backprop_filter(images, kernel_shape, gradient, strides, padding)
    pads = [[0, 0], [0, 0], [0, 0], [0, 0]]
    for axis in (1, 2):
        missing = (gradient.shape[axis] - 1) * strides[axis] + kernel_shape[axis - 1] - images.shape[axis]
        pads[axis] = [missing // 2, missing - missing // 2]
    images = tf.transpose(images, (3, 1, 2, 0))
    gradient = tf.transpose(gradient, (1, 2, 0, 3))
    product = tf.nn.conv2d(images, gradient, strides=1, padding=pads, dilations=strides)
    return tf.transpose(product, (1, 2, 0, 3))


with suppress(KeyError):  # they are registered already if this module is reloaded
    tf.RegisterGradient("FastConv2D")(_conv2d_gradient)
    tf.RegisterGradient("FastConv2DBackpropInput")(_conv2d_transpose_gradient)
