"""Generate images with a generator in a session or in a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
from PIL import Image
from tqdm import tqdm

from catdcgan.errors import CheckpointError
from catdcgan.images import image_grid, save_image, show_image, to_pixels
from catdcgan.latents import random_latents
from catdcgan.model import generator
from catdcgan.run.checkpoint import Architecture, architecture, read_architecture, restore, set_variables
from catdcgan.run.folder import SAMPLE_COUNT
from catdcgan.run.tensors import TrainingGraph
from catdcgan.screen import screen
from catdcgan.settings import IMAGE_MODES, Settings
from catdcgan.tf1 import tf
from catdcgan.tf1.layers import NORMALIZE

BATCH_SIZE = 64  # images generated at a time
STATISTICS_STREAM = 2  # apart from the steps' random numbers, as `STEP_STREAM` in run/step_input.py


def sample(
    checkpoint: str | os.PathLike[str], z: np.ndarray, pixel_range: float = 1.0, alpha: float = 0.2
) -> np.ndarray:
    """Generate images from latents with the generator in a checkpoint.

    Width, image size and channels are read from the checkpoint. If it also has moving averages of the
    generator, as a run's ``model.ckpt-STEP`` may, these are used, as in its ``model.ckpt``.

    Args:
        checkpoint: such as ``models/model.ckpt``; any path that `read_architecture` accepts.
        z: latents (n, z_dim).
        pixel_range: the generator's pixels are in [-pixel_range, pixel_range]; 0.5 for the weights of the
            article's author.
        alpha: slope of the leaky ReLU that the generator was trained with.

    Returns:
        uint8 images (n, height, width, channels).

    Raises:
        CheckpointError: the checkpoint is missing, damaged or not a generator of this program.
        ValueError: the latents in `z` do not have the generator's length, are none, or not finite.
    """
    images = sample_one_by_one(checkpoint, z, pixel_range, alpha)
    bar = tqdm(images, "generating", total=len(z), unit=" images", delay=2, file=screen())
    return np.stack(list(bar))


def sample_one_by_one(
    checkpoint: str | os.PathLike[str], z: np.ndarray, pixel_range: float = 1.0, alpha: float = 0.2
) -> Iterator[np.ndarray]:
    """Generate images as `sample` does, but yield them one by one, so that many need no more memory than few.

    Yields:
        uint8 images (height, width, channels).

    Raises:
        CheckpointError, ValueError: as in `sample`, before the first image.
    """
    z_dim = read_architecture(checkpoint).z_dim
    if z.shape[1:] != (z_dim,):
        raise ValueError(f"{checkpoint} takes latents (n, {z_dim}), not {z.shape}")
    if not len(z) or not np.isfinite(z).all():
        raise ValueError("there must be at least one latent, and all their numbers must be finite")
    with open_generator(checkpoint, alpha) as (sess, input_z, images):
        for start in range(0, len(z), BATCH_SIZE):
            values = sess.run(images, {input_z: z[start : start + BATCH_SIZE]})
            if not np.isfinite(values).all():
                raise CheckpointError(f"{checkpoint} is damaged: its images have values that are not finite")
            yield from to_pixels(values, pixel_range)


@contextmanager
def open_generator(
    checkpoint: str | os.PathLike[str], alpha: float = 0.2
) -> Iterator[tuple[tf.Session, tf.Tensor, tf.Tensor]]:
    """Open a session with the generator in a checkpoint, in a graph that holds nothing else.

    Neither the graph nor the session becomes the default one.

    Args:
        checkpoint: as in `sample`.
        alpha: as in `sample`.

    Yields:
        The session, the placeholder for latents (n, z_dim), and the images (n, s, s, c) in [-1, 1].

    Raises:
        CheckpointError: as in `sample`.
    """
    z_dim, base_filters, image_size, channels = read_architecture(checkpoint)
    with tf.Graph().as_default() as graph:
        # No initial value is generated here, but TensorFlow's op determinism requires a seed for random ops.
        tf.set_random_seed(0)
        input_z = tf.placeholder(tf.float32, (None, z_dim), name="input_z")
        # This call creates the variables; the next one builds the graph that generates images with them.
        generator(input_z, channels, base_filters=base_filters, image_size=image_size)
        images = sampling_output(input_z, channels, alpha)
        variables = tf.global_variables("generator")
    with closing(tf.Session(graph=graph)) as sess:
        restore(sess, checkpoint, variables, averages=True)
        yield sess, input_z, images


def read_weights(checkpoint: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the generator's variables in a checkpoint, by name, such as ``generator/dense/kernel``.

    Raises:
        CheckpointError: as in `sample`.
    """
    with open_generator(checkpoint) as (sess, _, _):
        variables = sess.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        values = sess.run({variable.op.name: variable for variable in variables})
    return dict(values)


def sampling_output(input_z: tf.Tensor, out_channel_dim: int, alpha: float = 0.2) -> tf.Tensor:
    """Return the generator's images (n, s, s, c) in [-1, 1], normalized with its moving averages.

    The graph must hold the generator's variables; width and image size are read from them. The output is
    built once for each `input_z`: later calls return the same tensor without adding operations, so they also
    work in a finalized graph.

    Raises:
        KeyError, ValueError: the graph has no variables of a generator of this program.
    """
    collection = f"sampling_output/{input_z.name}"
    if not tf.get_collection(collection):
        _, base_filters, image_size, _ = _architecture_of_graph()
        images = generator(input_z, out_channel_dim, False, alpha, base_filters, image_size)
        tf.add_to_collection(collection, images)
    return tf.get_collection(collection)[0]


def _architecture_of_graph() -> Architecture:
    """Find the generator's settings from its variables in the default graph; raises like `architecture`."""
    variables = tf.global_variables("generator")
    return architecture({variable.op.name: variable.shape.as_list() for variable in variables})


def batch_statistics(
    input_z: tf.Tensor, out_channel_dim: int, alpha: float = 0.2
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Build the generator once more, to measure what batch norm needs to know of a batch of its pictures.

    A custom getter must provide its variables.

    Returns:
        Mean and variance, each (channels,), by the scope of the batch norm.
    """
    measured: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}

    def normalize(
        inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs, mean, variance = tf.nn.fused_batch_norm(inputs, gamma, beta, epsilon=epsilon)
        measured[tf.get_variable_scope().name] = mean, variance
        return outputs, mean, variance

    tf.get_default_graph().clear_collection(NORMALIZE)  # of several workers one alone measures
    tf.add_to_collection(NORMALIZE, normalize)
    _, base_filters, image_size, _ = _architecture_of_graph()
    generator(input_z, out_channel_dim, True, alpha, base_filters, image_size)
    return measured


def refresh_statistics(sess: tf.Session, net: TrainingGraph, settings: Settings) -> None:
    """Set batch norm's statistics for sampling to those of pictures of the generator as it is now, if set.

    Moving averages lag behind the weights that they are for: in the first thousand steps so far that the
    pictures are gray (docs/long-runs.md). Yazici et al. 2018 (arXiv:1806.04498) average the generator; they
    do not say what becomes of batch norm.

    Args:
        sess: the session.
        net: the graph in it.
        settings: of the run; `statistics_latents` is the number of pictures, 0 to leave the averages.
    """
    if not settings.statistics_latents:
        return
    random = np.random.default_rng((settings.seed, STATISTICS_STREAM, 0))
    z = random_latents(settings.statistics_latents, settings.z_dim, random, settings.z_distribution)
    parts = np.array_split(z, -(-len(z) // BATCH_SIZE))  # nearly equal, so that all count the same
    batches = [sess.run(net.statistics, {net.input_z: part}) for part in parts]
    values = []
    for scope in net.statistics:
        means, variances = (np.array(part) for part in zip(*(batch[scope] for batch in batches), strict=True))
        values.append((net.sampling_variables[f"{scope}/moving_mean"], means.mean(0)))
        variance = variances.mean(0) + means.var(0)
        values.append((net.sampling_variables[f"{scope}/moving_variance"], variance))
    set_variables(sess, values)


def generate(
    sess: tf.Session,
    input_z: tf.Tensor,
    z: np.ndarray,
    out_channel_dim: int,
    alpha: float = 0.2,
    pixel_range: float = 1.0,
) -> np.ndarray:
    """Generate images from latents in a session that holds the generator's variables.

    Args:
        sess: the session.
        input_z: the placeholder for latents.
        z: latents (n, z_dim), run as one batch that must fit into memory.
        out_channel_dim: 3 for colour, 1 for grayscale.
        alpha: slope of the leaky ReLU.
        pixel_range: as in `sample`.

    Returns:
        uint8 images (n, s, s, c).
    """
    with sess.graph.as_default():
        images = sampling_output(input_z, out_channel_dim, alpha)
    return to_pixels(sess.run(images, {input_z: z}), pixel_range)


def generate_samples(sess: tf.Session, net: TrainingGraph, settings: Settings) -> np.ndarray:
    """Generate the images of a run's sample grid, uint8 (25, s, s, c): always from the same latents."""
    refresh_statistics(sess, net, settings)
    z = random_latents(SAMPLE_COUNT, settings.z_dim, settings.seed, settings.z_distribution)
    return generate(sess, net.input_z, z, IMAGE_MODES[settings.image_mode])


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
    """Generate a grid of images with the generator in a session: the article's helper.

    Args:
        sess: session with the generator's variables, in its graph.
        n_images: number of images.
        input_z: the placeholder for latents.
        out_channel_dim: 3 for colour, 1 for grayscale.
        image_mode: "RGB" or "L".
        image_path: file to write, if `save`.
        save: write the grid to `image_path`.
        show: show the grid, as `show_image` does.
        alpha: slope of the leaky ReLU.
        seed: of the latents; the same seed gives the same cats, for comparison.
        pixel_range: as in `sample`.
        z_distribution: as in `random_latents`.

    Returns:
        The grid.

    Raises:
        ValueError: `z_distribution`, or the suffix of `image_path` to save, is unknown.
        OSError: the file cannot be written.
    """
    z = random_latents(n_images, input_z.shape[1], seed, z_distribution)
    grid = image_grid(generate(sess, input_z, z, out_channel_dim, alpha, pixel_range), image_mode)
    if save:
        save_image(grid, image_path)
    if show:
        show_image(grid)
    return grid
