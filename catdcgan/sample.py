"""Look at what a generator draws: from a session that trains it, or from a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from statistics import NormalDist

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan.checkpoint import architecture, read_architecture, restore
from catdcgan.images import image_grid, save_image, show_image, to_pixels
from catdcgan.model import generator
from catdcgan.screen import screen
from catdcgan.tf1 import tf

BATCH_SIZE = 64  # pictures drawn at a time


def random_latents(
    count: int,
    z_dim: int,
    seed: int | np.random.Generator = 0,
    distribution: str = "uniform",
    truncate: float | None = None,
) -> np.ndarray:
    """Draw latents (count, z_dim), float32; the same seed gives the same ones.

    Args:
        count: how many.
        z_dim: length of a latent.
        seed: a number, or a generator to draw from.
        distribution: "uniform" in [-1, 1], as in the article, or the standard "normal".
        truncate: keep the latents' numbers within [-truncate, truncate]: the cats differ less and fewer go
            wrong (the truncation trick of Brock et al. 2019, arXiv:1809.11096). They are distributed as if
            numbers outside were drawn again, but the smaller the bound, the nearer each number of the same
            seed comes to 0: so the cats of one seed are related.

    Raises:
        ValueError: another distribution, or `truncate` is not above 0, or above 1 for uniform latents.
    """
    limit = 1 if distribution == "uniform" else float("inf")
    if truncate is not None and not 0 < truncate <= limit:
        raise ValueError(f"{distribution} latents are truncated above 0, at most at {limit}: not {truncate}")
    random = np.random.default_rng(seed)
    if distribution == "uniform":
        bound = truncate or 1
        return random.uniform(-bound, bound, (count, z_dim)).astype(np.float32)
    if distribution == "normal":
        z = random.standard_normal((count, z_dim))
        return (_truncated(z, truncate) if truncate else z).astype(np.float32)
    raise ValueError(f'latents are "uniform" or "normal", not "{distribution}"')


def _truncated(z: np.ndarray, bound: float) -> np.ndarray:
    """Map numbers of the standard normal distribution to those of its part within [-bound, bound].

    Each keeps its quantile, so that it depends on no other number, as it would if some were drawn again.
    """
    normal = NormalDist()
    low, high = normal.cdf(-bound), normal.cdf(bound)
    squeeze = np.vectorize(lambda number: normal.inv_cdf(low + (high - low) * normal.cdf(number)), [float])
    return np.asarray(squeeze(z))


def interpolate(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    """Walk from one latent (z_dim,) to another in a straight line: (count, z_dim), both ends included."""
    return np.linspace(start, end, count, dtype=np.float32)


def round_walk(stops: np.ndarray, count: int) -> np.ndarray:
    """Walk from each latent to the next in `count` steps, and from the last to the first, to loop for ever.

    Args:
        stops: latents (n, z_dim).
        count: steps from one to the next.

    Returns:
        Latents (n * count, z_dim); number i * count is stop i.
    """
    ways = zip(stops, np.roll(stops, -1, axis=0), strict=True)
    return np.concatenate([interpolate(start, end, count + 1)[:-1] for start, end in ways])


def sample(
    checkpoint: str | os.PathLike[str], z: np.ndarray, pixel_range: float = 1.0, alpha: float = 0.2
) -> np.ndarray:
    """Draw the pictures of some latents with the generator in a checkpoint.

    Width, image size and channels are read from the checkpoint.

    Args:
        checkpoint: such as ``models/model.ckpt``; paths are understood as in `read_architecture`.
        z: latents (n, z_dim).
        pixel_range: pictures span [-pixel_range, pixel_range]; 0.5 for the weights of the article's author.
        alpha: slope of the leaky ReLU that the generator was trained with.

    Returns:
        uint8 images (n, height, width, channels).

    Raises:
        CheckpointError: the checkpoint is absent, damaged or not a generator of this program.
        ValueError: `z` has another length than the generator's latents.
    """
    images = sample_one_by_one(checkpoint, z, pixel_range, alpha)
    bar = tqdm(images, "drawing", total=len(z), unit=" images", delay=2, file=screen())
    return np.stack(list(bar))


def sample_one_by_one(
    checkpoint: str | os.PathLike[str], z: np.ndarray, pixel_range: float = 1.0, alpha: float = 0.2
) -> Iterator[np.ndarray]:
    """Draw as `sample` does, but hand out image by image, so that ten thousand need no more memory than few.

    Yields:
        uint8 images (height, width, channels).

    Raises:
        CheckpointError, ValueError: as `sample`, before the first image.
    """
    z_dim, base_filters, image_size, channels = read_architecture(checkpoint)
    if z.shape[1:] != (z_dim,):
        raise ValueError(f"{checkpoint} takes latents (n, {z_dim}), not {z.shape}")
    with tf.Graph().as_default() as graph:
        # No initial value is drawn here, but with TensorFlow's op determinism on, random ops need a seed.
        tf.set_random_seed(0)
        input_z = tf.placeholder(tf.float32, (None, z_dim), name="input_z")
        # This call makes the variables, the next one the graph that draws with them.
        generator(input_z, channels, base_filters=base_filters, image_size=image_size)
        images = sampling_output(input_z, channels, alpha)
        variables = tf.global_variables("generator")
    # Neither graph nor session is the default one while the caller has the word.
    with closing(tf.Session(graph=graph)) as sess:
        restore(sess, checkpoint, variables)
        for start in range(0, len(z), BATCH_SIZE):
            yield from to_pixels(sess.run(images, {input_z: z[start : start + BATCH_SIZE]}), pixel_range)


def sampling_output(input_z: tf.Tensor, out_channel_dim: int, alpha: float = 0.2) -> tf.Tensor:
    """The images (n, s, s, c) in [-1, 1] that the generator draws with its moving averages.

    Needs the generator's variables in the graph, and reads width and image size from them. It is built once
    for each `input_z`: later calls return the same tensor and add no op, even to a finalized graph.
    """
    collection = f"sampling_output/{input_z.name}"
    if not tf.get_collection(collection):
        shapes = {variable.op.name: variable.shape.as_list() for variable in tf.global_variables("generator")}
        _, base_filters, image_size, _ = architecture(shapes)
        images = generator(input_z, out_channel_dim, False, alpha, base_filters, image_size)
        tf.add_to_collection(collection, images)
    return tf.get_collection(collection)[0]


def show_generator_output(
    sess: tf.Session,
    n_images: int,
    input_z: tf.Tensor,
    out_channel_dim: int,
    image_mode: str,
    image_path: str | os.PathLike[str],
    save: bool,
    show: bool,
    alpha: float = 0.2,
    seed: int = 0,
    pixel_range: float = 1.0,
    z_distribution: str = "uniform",
) -> Image.Image:
    """Draw a grid of pictures with the generator in a session: the article's helper.

    Args:
        sess: session with the generator's variables, in its graph.
        n_images: how many pictures.
        input_z: the placeholder of the latents.
        out_channel_dim: 3 for colour, 1 for grayscale.
        image_mode: "RGB" or "L".
        image_path: file to write, if `save`.
        save: write the grid to `image_path`.
        show: show the grid, in a notebook below the cell, elsewhere in the system's picture viewer.
        alpha: slope of the leaky ReLU.
        seed: draws the latents; the same seed gives the same cats to compare.
        pixel_range: as in `sample`.
        z_distribution: as in `random_latents`.

    Returns:
        The grid.
    """
    with sess.graph.as_default():
        images = sampling_output(input_z, out_channel_dim, alpha)
    z = random_latents(n_images, input_z.shape[1], seed, z_distribution)
    grid = image_grid(to_pixels(sess.run(images, {input_z: z}), pixel_range), image_mode)
    if save:
        save_image(grid, image_path)
    if show:
        show_image(grid)
    return grid
