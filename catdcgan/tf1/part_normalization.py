"""Batch normalization where each process has only a part of the batch ("synchronised")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catdcgan.tf1 import tf

LEAST_EPSILON = 1.001e-5  # that `tf.nn.fused_batch_norm` takes; it raises a smaller one to this


def normalize_part(
    total: Callable[[tf.Tensor], tf.Tensor],
    share: tf.Tensor,
    images: tf.Tensor,
    inputs: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """``tf.nn.fused_batch_norm`` with the statistics of the whole batch, and gradients through them.

    It is made of the fused operation, which is several times as fast as one made of sums and products.

    Args:
        total: gives the sum of a tensor over all processes.
        share: of this process in the batch, between 0 and 1.
        images: number of images in the whole batch.
        inputs: this process's part (n, height, width, channels), in any type of float.
        gamma: (channels,).
        beta: (channels,).
        epsilon: added to the variance.

    Returns:
        Outputs like `inputs`; mean and variance of the whole batch, float32 (channels,).
    """
    epsilon = max(epsilon, LEAST_EPSILON)
    values = tf.cast(tf.size(inputs[..., 0]), tf.float32)  # of this part, in a channel
    _, mean, variance = tf.nn.fused_batch_norm(inputs, gamma, beta, epsilon=epsilon)
    variance *= 1 - 1 / values  # it was the unbiased one
    # The difference of two squares loses digits, hence float64.
    mean, variance, part = (tf.cast(each, tf.float64) for each in (mean, variance, share))
    mean, square = tf.unstack(total(part * tf.stack([mean, variance + tf.square(mean)])))
    variance = tf.cast(square - tf.square(mean), tf.float32)
    mean = tf.cast(mean, tf.float32)

    def affine(inputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        return tf.nn.fused_batch_norm(inputs, scale, offset, mean, variance, epsilon, is_training=False)[0]

    def normalized(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
        outputs = affine(inputs, gamma, beta)

        def gradient(of_outputs: tf.Tensor) -> list[tf.Tensor]:
            direct, of_gamma, of_beta = tf.gradients(outputs, [inputs, gamma, beta], of_outputs)
            # The losses of all processes depend on mean and variance, and through them on these inputs.
            of_all = tf.unstack(total(tf.stack([of_gamma, of_beta])))
            factor = -share / values * gamma * tf.math.rsqrt(variance + epsilon)
            return [direct + affine(inputs, factor * of_all[0], factor * of_all[1]), of_gamma, of_beta]

        return outputs, gradient

    outputs = tf.custom_gradient(normalized)(inputs, gamma, beta)
    whole = tf.cast(images * inputs.shape[1] * inputs.shape[2], tf.float32)
    return outputs, mean, variance * (whole / (whole - 1))
