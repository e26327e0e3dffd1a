"""DiffAugment: augment real and generated images alike before they are judged, for small datasets.

"Differentiable Augmentation for Data-Efficient GAN Training" (Zhao et al. 2020, arXiv:2006.10738). With few
photos a discriminator memorizes them. It cannot if it never sees one unchanged. Generated images are changed
in the same way, and gradients flow through the change, so the generator does not learn to imitate it. The
probability of a change can follow how well the discriminator knows its photos (`follow_overfitting`).

Each function is optimized for speed, measured forward and backward on a CPU, because a training step calls it
three times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from catdcgan.settings import AUGMENT_POLICIES, SURENESS
from catdcgan.tf1 import tf

RISE = 20_000  # images in which the probability of augmentation can rise from 0 to 1
WINDOW = 4  # batches over which the discriminator's sureness is averaged


def augment_images(
    images: tf.Tensor,
    policy: Sequence[str],
    seed: tf.Tensor,
    rows: tf.Tensor | None = None,
    probability: tf.Tensor | None = None,
) -> tf.Tensor:
    """Augment each image at random, in a way that gradients can flow through.

    ===========  ===========================================================================
    policy       change
    ===========  ===========================================================================
    color        brightness: adds -0.5 to 0.5; then saturation: 0 to 2 times the distance from
                 the pixel's mean over channels (grayscale has none); then contrast: 0.5 to
                 1.5 times the distance from the image's mean
    translation  moves up to 1/8 of the side up or down and left or right, in whole pixels
    cutout       blanks a square of half the side; its centre is anywhere in the image, so
                 part of it may lie outside
    ===========  ===========================================================================

    Pixels that translation uncovers or cutout blanks become 0, which is gray. Colours may leave [-1, 1]. All
    random numbers are uniform, and separate for each image. Those of one policy do not depend on the others.

    Args:
        images: float32 (n, s, s, c) in [-1, 1]; all sizes but n must be known when the graph is built.
        policy: any of `AUGMENT_POLICIES`; their order and repetition do not matter.
        seed: two integers, shape (2,). Use a new pair for each call; the same pair gives the same bits.
        rows: int32 (3,), where `images` are only some of a batch: the first of them, the end, and the number
            of images in the batch. Each image gets the random numbers that it would get in the whole batch.
        probability: how likely each policy is to change an image, drawn for each image and policy; None for
            always.

    Returns:
        The changed images (n, s, s, c), or `images` itself if the policy is empty.

    Raises:
        ValueError: a name in `policy` is not in `AUGMENT_POLICIES`.
    """
    for name in policy:
        if name not in AUGMENT_POLICIES:
            raise ValueError(f"{name!r} is not an augmentation: choose from {', '.join(AUGMENT_POLICIES)}")
    if not policy:
        return images
    # Not seed + 1, seed + 2: a step would then reuse numbers that the previous step used for something else.
    color_seed, translation_seed, cutout_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, len(AUGMENT_POLICIES))
    )

    def chosen(changed: tf.Tensor, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if probability is None:
            return changed
        # Folded in, so that the change itself stays as it is without a probability.
        drawn = _uniform(images, (), tf.random.experimental.stateless_fold_in(seed, 1), rows)
        return tf.where(drawn < probability, changed, images)

    if "color" in policy:
        images = chosen(_jitter_colors(images, color_seed, rows), images, color_seed)
    if "translation" in policy:
        limit = images.shape[1] // 8
        moves = _uniform(images, (2,), translation_seed, rows, -limit, limit + 1, tf.int32)
        images = chosen(_translate(images, moves), images, translation_seed)
    if "cutout" in policy:
        images = chosen(_cut_out(images, cutout_seed, rows), images, cutout_seed)
    return images


def follow_overfitting(
    probability: tf.Variable, signs: tf.Tensor, target: float, images: tf.Tensor
) -> tf.Operation:
    """Raise a probability of augmentation while the discriminator is surer of its photos than a target.

    It falls while the discriminator is less sure. "Training Generative Adversarial Networks with Limited
    Data" (Karras et al. 2020, arXiv:2006.06676) call this ADA. There, the signs are averaged over 4 batches,
    and the probability needs 500,000 images to rise from 0 to 1. Here, a variable holds their moving average,
    and the probability needs `RISE` images: runs are shorter.

    Args:
        probability: a float32 scalar from 0 to 1.
        signs: the mean sign of the logits for a batch of real images, from -1 to 1.
        target: of their average; the paper takes 0.6.
        images: how many are in the batch.

    Returns:
        The operation that moves the probability after a step.
    """
    sureness = tf.get_variable(SURENESS, (), tf.float32, tf.zeros_initializer(), trainable=False)
    average = sureness + (signs - sureness) / WINDOW
    moved = probability + tf.sign(average - target) * tf.cast(images, tf.float32) / RISE
    return tf.group(
        sureness.assign(average, read_value=False),
        probability.assign(tf.clip_by_value(moved, 0, 1), read_value=False),
    )


def batch_size(images: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
    """The number of images in the whole batch; `rows` as in `augment_images`."""
    return tf.shape(images)[0] if rows is None else rows[2]


def _uniform(
    images: tf.Tensor,
    shape: tuple[int, ...],
    seed: tf.Tensor,
    rows: tf.Tensor | None,
    lowest: int = 0,
    end: int | None = None,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Random numbers (n, *shape), uniform in [lowest, end), for n images; `rows` as in `augment_images`."""
    count = batch_size(images, rows)
    random = tf.random.stateless_uniform((count, *shape), seed, lowest, end, dtype)
    return random if rows is None else random[rows[0] : rows[1]]


def _jitter_colors(images: tf.Tensor, seed: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
    """Change brightness by b, then saturation by the factor s, then contrast by the factor c.

    With a pixel's mean over channels m and the image's mean M, the three steps are::

        x + b        s * (x - m) + m        c * (x - M) + M

    Neither s nor c changes M, and s does not change m. So the three combine into one matrix for the channels
    of a pixel and one addend for the image: c * (s * x + (1 - s) * m) + (1 - c) * M + b, of the original x.
    """
    side, channels = images.shape[2:]
    random = _uniform(images, (3, 1, 1), seed, rows)
    brightness, saturation, contrast = random[:, 0] - 0.5, random[:, 1] * 2, random[:, 2] + 0.5

    # Multiplying by a 3x3 matrix is slow. Four pixels at once take half the time, despite the zeros.
    together = math.gcd(side * side, 4)
    pixels = tf.reshape(images, (-1, side * side // together, together * channels))
    same = np.eye(together * channels, dtype=np.float32)
    mean = np.kron(np.eye(together), np.full((channels, channels), 1 / channels)).astype(np.float32)
    mix = contrast * (saturation * same + (1 - saturation) * mean)
    image_mean = tf.reduce_mean(pixels, (1, 2), keepdims=True)
    pixels = tf.matmul(pixels, mix) + ((1 - contrast) * image_mean + brightness)
    return tf.reshape(pixels, (-1, side, side, channels))


def _translate(images: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
    """Move each image by whole pixels (down, right), int32 (n, 2), filling with zeros.

    The gradient is the opposite move. TensorFlow's own gradient of a gather takes twice as long.
    """
    side = images.shape[1]

    def move(images: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        moved = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        # Gathering rows copies long runs of memory; gathering columns would copy pixels. So transpose.
        for axis in (0, 1):
            sources = np.arange(1, side + 1, dtype=np.int32) - moves[:, axis, None]
            moved = tf.gather(moved, tf.clip_by_value(sources, 0, side + 1), axis=1, batch_dims=1)
            moved = tf.transpose(moved, (0, 2, 1, 3))
        return moved, lambda gradient: _translate(gradient, -moves)

    return tf.custom_gradient(move)(images)


def _cut_out(images: tf.Tensor, seed: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
    """Blank a square of half the side, centred anywhere in the image, borders included."""
    side, channels = images.shape[2:]
    size = side // 2
    lowest = -(size // 2)
    highest = lowest + side - size % 2  # the centre of an odd square is a pixel; of an even one, a corner
    starts = _uniform(images, (2,), seed, rows, lowest, highest + 1, tf.int32)

    def inside(places: np.ndarray, start: tf.Tensor) -> tf.Tensor:
        return tf.cast((places >= start) & (places < start + size), tf.float32)

    # Channels are treated as columns: multiplying by a mask (n, s, s, 1) takes twice as long.
    down = inside(np.arange(side), starts[:, 0, None])
    across = inside(np.arange(side * channels) // channels, starts[:, 1, None])
    keep = 1 - down[:, :, None] * across[:, None]
    kept = tf.reshape(images, (-1, side, side * channels)) * keep
    return tf.reshape(kept, (-1, side, side, channels))
