"""The four layers that the article takes from ``tf.layers``, on ``tf.get_variable`` and ``tf.nn``.

``tf.compat.v1.layers`` raises "not available with Keras 3" on current TensorFlow. These functions make the
same variables (names, shapes, initial values), the same outputs and the same UPDATE_OPS, so a graph built
from them reads and writes the same checkpoints. ``tests/tf1/test_layers.py`` compares them.
They take the arguments that the article needs, under the same keywords. A bfloat16 kernel, as in mixed
precision, is multiplied in bfloat16; the result is cast back to the bias's type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catdcgan.tf1 import tf

Initializer = Callable[..., tf.Tensor]

NORMALIZE = "normalize"  # collection: what normalizes over a batch of which this process has only a part


def dense(
    inputs: tf.Tensor,
    units: int,
    kernel_initializer: Initializer | None = None,
    name: str = "dense",
) -> tf.Tensor:
    """Fully connected layer, ``inputs @ kernel + bias``: (n, features) -> (n, units).

    Variables: ``name/kernel`` (features, units), by default Glorot uniform, and ``name/bias`` (units,),
    zeros.
    """
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [inputs.shape[-1], units], initializer=kernel_initializer)
        return _add_bias(tf.matmul(tf.cast(inputs, kernel.dtype), kernel))


def conv2d(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = (1, 1),
    padding: str = "valid",
    kernel_initializer: Initializer | None = None,
    name: str = "conv2d",
) -> tf.Tensor:
    """2-D convolution: (n, height, width, channels) -> (n, height', width', filters).

    With ``padding="SAME"`` height' is height / stride, rounded up. Variables: ``name/kernel``
    (kernel height, kernel width, channels, filters) and ``name/bias`` (filters,).
    """
    with tf.variable_scope(name):
        shape = [*_pair(kernel_size), inputs.shape[-1], filters]
        kernel = tf.get_variable("kernel", shape, initializer=kernel_initializer)
        inputs = tf.cast(inputs, kernel.dtype)
        outputs = tf.nn.conv2d(inputs, kernel, strides=_pair(strides), padding=padding.upper())
        return _add_bias(outputs)


def conv2d_transpose(
    inputs: tf.Tensor,
    filters: int,
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = (1, 1),
    padding: str = "valid",
    kernel_initializer: Initializer | None = None,
    name: str = "conv2d_transpose",
) -> tf.Tensor:
    """Transposed 2-D convolution, (n, height, width, channels) -> (n, height', width', filters); enlarges.

    With ``padding="SAME"`` height' is height * stride. Variables: ``name/kernel`` (kernel height, kernel
    width, filters, channels; the last two are swapped compared with `conv2d`) and ``name/bias`` (filters,).
    """
    with tf.variable_scope(name):
        kernel_height, kernel_width = _pair(kernel_size)
        stride_y, stride_x = _pair(strides)
        shape = [kernel_height, kernel_width, filters, inputs.shape[-1]]
        kernel = tf.get_variable("kernel", shape, initializer=kernel_initializer)
        height, width = inputs.shape[1] * stride_y, inputs.shape[2] * stride_x
        if padding.upper() == "VALID":
            height += max(kernel_height - stride_y, 0)
            width += max(kernel_width - stride_x, 0)
        outputs = tf.nn.conv2d_transpose(
            tf.cast(inputs, kernel.dtype),
            kernel,
            output_shape=tf.stack([tf.shape(inputs)[0], height, width, filters]),
            strides=[stride_y, stride_x],
            padding=padding.upper(),
        )
        return _add_bias(outputs)


def batch_normalization(
    inputs: tf.Tensor,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    training: bool = False,
    name: str = "batch_normalization",
) -> tf.Tensor:
    """Batch normalization over the last axis of (n, height, width, channels); Ioffe and Szegedy 2015.

    ``training=True`` normalizes with the batch's own mean and variance, and adds to the collection
    UPDATE_OPS the two operations that move ``moving_mean`` and ``moving_variance`` towards them. As in
    ``tf.layers`` they run only if the training step depends on them. ``training=False`` normalizes with
    the moving averages and adds nothing. Variables: ``name/{gamma,beta,moving_mean,moving_variance}``,
    each (channels,).
    """
    with tf.variable_scope(name):
        shape = [inputs.shape[-1]]
        gamma = tf.get_variable("gamma", shape, initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", shape, initializer=tf.zeros_initializer())
        moving_mean = tf.get_variable(
            "moving_mean", shape, initializer=tf.zeros_initializer(), trainable=False
        )
        moving_variance = tf.get_variable(
            "moving_variance", shape, initializer=tf.ones_initializer(), trainable=False
        )
        if not training:
            outputs, _, _ = tf.nn.fused_batch_norm(
                inputs, gamma, beta, moving_mean, moving_variance, epsilon=epsilon, is_training=False
            )
            return outputs
        normalize = next(iter(tf.get_collection(NORMALIZE)), tf.nn.fused_batch_norm)
        outputs, mean, variance = normalize(inputs, gamma, beta, epsilon=epsilon)
        _move_average(moving_mean, mean, momentum)
        _move_average(moving_variance, variance, momentum)
        return outputs


def _move_average(variable: tf.Variable, value: tf.Tensor, momentum: float) -> None:
    """Add to UPDATE_OPS: variable = momentum * variable + (1 - momentum) * value."""
    # The discriminator runs more than once a step. Unordered, its updates of one variable would race, and the
    # same seed would no longer give the same bits. So each update waits for those of earlier passes.
    updates = f"updates/{variable.name}"
    with tf.control_dependencies(tf.get_collection(updates)):
        difference = variable.read_value() - value
        update = variable.assign_sub(difference * (1 - momentum), read_value=False)
    tf.add_to_collections([updates, tf.GraphKeys.UPDATE_OPS], update)


def _add_bias(outputs: tf.Tensor) -> tf.Tensor:
    """Add the variable ``bias`` to the last axis."""
    bias = tf.get_variable("bias", [outputs.shape[-1]], initializer=tf.zeros_initializer())
    return tf.nn.bias_add(tf.cast(outputs, bias.dtype), bias)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Return a height and a width, from one number for both or from a pair."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return height, width
