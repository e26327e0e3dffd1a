"""DiffAugment: change real and generated images alike before they are judged, for when photos are few.

"Differentiable Augmentation for Data-Efficient GAN Training" (Zhao et al. 2020, arXiv:2006.10738). With few
photos a discriminator learns them by heart. It cannot if it never sees one unchanged. Since generated images
are changed in the same way, and gradients flow through the change, the generator does not learn to draw it.

Each function is written for speed, measured forward and backward on a CPU: three uses in a training step must
not slow it down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from catdcgan.settings import AUGMENT_POLICIES
from catdcgan.tf1 import tf


def augment_images(images: tf.Tensor, policy: Sequence[str], seed: tf.Tensor) -> tf.Tensor:
    """Change each image at random, in a way that gradients flow through.

    ===========  ===========================================================================
    policy       change
    ===========  ===========================================================================
    color        brightness: adds -0.5 to 0.5; then saturation: 0 to 2 times the distance from
                 the pixel's mean over channels (grayscale has none); then contrast: 0.5 to
                 1.5 times the distance from the image's mean
    translation  up to 1/8 of the side up or down and left or right, in whole pixels
    cutout       blanks a square of half the side; its centre is anywhere in the image, so it
                 may stick out
    ===========  ===========================================================================

    What translation uncovers and cutout blanks becomes 0, which is gray. Colours may leave [-1, 1]. All draws
    are uniform, and separate for each image. What one policy draws does not depend on the others.

    Args:
        images: float32 (n, s, s, c) in [-1, 1]; all but n must be known when the graph is built.
        policy: any of `AUGMENT_POLICIES`; their order and repetition do not matter.
        seed: integers (2,), a new pair for each use; the same pair gives the same bits.

    Returns:
        The changed images (n, s, s, c), or `images` itself if the policy is empty.

    Raises:
        ValueError: `policy` names something that is not in `AUGMENT_POLICIES`.
    """
    for name in policy:
        if name not in AUGMENT_POLICIES:
            raise ValueError(
                f"{name!r} is no augmentation: policy lists any of {', '.join(AUGMENT_POLICIES)}"
            )
    if not policy:
        return images
    # Not seed + 1, + 2: then a step would repeat what the step before drew for something else.
    color_seed, translation_seed, cutout_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, len(AUGMENT_POLICIES))
    )
    if "color" in policy:
        images = _jitter_colors(images, color_seed)
    if "translation" in policy:
        limit = images.shape[1] // 8
        shape = (tf.shape(images)[0], 2)
        moves = tf.random.stateless_uniform(shape, translation_seed, -limit, limit + 1, tf.int32)
        images = _translate(images, moves)
    if "cutout" in policy:
        images = _cut_out(images, cutout_seed)
    return images


def _jitter_colors(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Change brightness by b, then saturation by the factor s, then contrast by the factor c.

    With a pixel's mean over channels m and the image's mean M, written out step by step::

        x + b        s * (x - m) + m        c * (x - M) + M

    Neither s nor c changes M, and s does not change m. So all three together are a matrix for the channels of
    a pixel and an addend for the image: c * (s * x + (1 - s) * m) + (1 - c) * M + b, of the original x.
    """
    side, channels = images.shape[2:]
    draws = tf.random.stateless_uniform((tf.shape(images)[0], 3, 1, 1), seed)
    brightness, saturation, contrast = draws[:, 0] - 0.5, draws[:, 1] * 2, draws[:, 2] + 0.5

    # A product with a 3x3 matrix is slow. Four pixels at once take half the time, the zeros notwithstanding.
    together = math.gcd(side * side, 4)
    pixels = tf.reshape(images, (-1, side * side // together, together * channels))
    same = np.eye(together * channels, dtype=np.float32)
    mean = np.kron(np.eye(together), np.full((channels, channels), 1 / channels)).astype(np.float32)
    mix = contrast * (saturation * same + (1 - saturation) * mean)
    image_mean = tf.reduce_mean(pixels, (1, 2), keepdims=True)
    pixels = tf.matmul(pixels, mix) + ((1 - contrast) * image_mean + brightness)
    return tf.reshape(pixels, (-1, side, side, channels))


def _translate(images: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
    """Move each image by whole pixels (down, right), int32 (n, 2); zeros come in.

    Its gradient is the move back. TensorFlow's own, which adds up what was gathered, takes twice as long.
    """
    side = images.shape[1]

    def move(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        moved = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        # Gathering rows copies long pieces of memory, columns would be single pixels: so turn the image.
        for axis in (0, 1):
            sources = np.arange(1, side + 1, dtype=np.int32) - moves[:, axis, None]
            moved = tf.gather(moved, tf.clip_by_value(sources, 0, side + 1), axis=1, batch_dims=1)
            moved = tf.transpose(moved, (0, 2, 1, 3))
        return moved, lambda gradient: _translate(gradient, -moves)

    return tf.custom_gradient(move)(images)


def _cut_out(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Blank a square of half the side whose centre is anywhere in the image, borders included."""
    side, channels = images.shape[2:]
    size = side // 2
    lowest = -(size // 2)
    highest = lowest + side - size % 2  # a square of odd size has a pixel at its centre, not a corner of four
    starts = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, lowest, highest + 1, tf.int32)

    def inside(places: np.ndarray, start: tf.Tensor) -> tf.Tensor:
        return tf.cast((places >= start) & (places < start + size), tf.float32)

    # Channels count as columns: multiplying by a mask (n, s, s, 1) takes twice as long.
    rows = inside(np.arange(side), starts[:, 0, None])
    columns = inside(np.arange(side * channels) // channels, starts[:, 1, None])
    keep = 1 - rows[:, :, None] * columns[:, None]
    kept = tf.reshape(images, (-1, side, side * channels)) * keep
    return tf.reshape(kept, (-1, side, side, channels))
