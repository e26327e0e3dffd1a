"""A photo's nearest cat: the latent whose picture is most like it.

A linear encoder guesses the latent from a small version of the photo, and steps of Adam through the
generator improve on it (Zhu et al. 2016, arXiv:1609.03552). The generator knows only faces like those that it
was trained on, so what comes out is a relative with the coat and the markings, not a copy.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from catdcgan.errors import InputError
from catdcgan.explore.directions import fingerprint
from catdcgan.files import atomic_write, refuse_special
from catdcgan.images import shrink
from catdcgan.latents import random_latents
from catdcgan.model import generator
from catdcgan.run.checkpoint import read_architecture, restore
from catdcgan.run.checkpoint_files import find_checkpoint
from catdcgan.sampling import read_weights, sample_one_by_one, sampling_output
from catdcgan.screen import screen
from catdcgan.tf1 import tf

FILE_NAME = "encoder.npz"
SIDE = 16  # of the version of a picture that the encoder sees: the coat and its markings, no hairs
COUNT = 4000  # pictures that it learns from
RIDGE = 1.0  # added to the diagonal of the regression: pictures at this size say little of some numbers
STEPS, LEARNING_RATE = 60, 0.1  # of Adam; 187 steps and 16 starts are hardly better
LEVELS = 4  # of the pyramid that is compared: the picture's own size, and half, a quarter, an eighth of it
LARGEST_START = 0.95  # of a uniform latent's numbers, so that their inverse tanh is finite
LARGEST_NORMAL = 4  # of a normal latent's numbers; hardly any is further out
SPREAD = 0.5  # of the noise that another seed adds to the start


class Encoder(NamedTuple):
    """A linear map from small pictures to the latents of one generator."""

    weights: np.ndarray  # float32 (SIDE * SIDE * channels + 1, z_dim); the last row is added
    made_for: str  # the generator's fingerprint, and how its pictures were made


def encode(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """Guess the latents (n, z_dim) of uint8 images (n, s, s, c)."""
    return np.asarray(_features(images) @ encoder.weights)


def _features(images: np.ndarray) -> np.ndarray:
    values = shrink(images, SIDE) / 127.5 - 1
    return np.concatenate([values, np.ones((len(images), 1), np.float32)], 1)


def encoder_of(
    checkpoint: str | os.PathLike[str],
    z_distribution: str = "uniform",
    pixel_range: float = 1.0,
    alpha: float = 0.2,
) -> Encoder:
    """Read the encoder beside a checkpoint, or make it and keep it there.

    A warning says so if it cannot be kept: making it takes a minute or two.

    Args:
        checkpoint: as in `sample`.
        z_distribution: as in `random_latents`.
        pixel_range: as in `sample`.
        alpha: as in `sample`.

    Raises:
        CheckpointError: as in `sample`.
        InputError: a pipe or a device is in the file's place.
    """
    file = find_checkpoint(checkpoint).with_name(FILE_NAME)
    refuse_special(file)
    made = read_architecture(checkpoint)
    shape = (SIDE * SIDE * made.channels + 1, made.z_dim)
    options = (z_distribution, pixel_range, alpha)
    made_for = " ".join(map(str, [fingerprint(read_weights(checkpoint)), *options]))
    if (stored := _read(file, shape)) and stored.made_for == made_for:
        return stored
    half = _fit(checkpoint, *options).astype(np.float16)
    try:
        with atomic_write(file) as partial, partial.open("wb") as stream:
            np.savez_compressed(stream, weights=half, made_for=np.array(made_for))
    except OSError as error:
        warnings.warn(f"the encoder is not kept, and is made again each time: {error}", stacklevel=2)
    return Encoder(half.astype(np.float32), made_for)


def _fit(
    checkpoint: str | os.PathLike[str], z_distribution: str, pixel_range: float, alpha: float
) -> np.ndarray:
    """The weights of an encoder, by ridge regression of a generator's latents onto its own pictures."""
    z = random_latents(COUNT, read_architecture(checkpoint).z_dim, 1, z_distribution)
    images = sample_one_by_one(checkpoint, z, pixel_range, alpha)
    bar = tqdm(images, "making the encoder", total=COUNT, unit=" images", delay=2, file=screen())
    seen = np.concatenate([_features(image[None]) for image in bar]).astype(np.float64)
    square = seen.T @ seen + RIDGE * np.eye(seen.shape[1])
    return np.asarray(np.linalg.solve(square, seen.T @ z))


def _read(file: Path, shape: tuple[int, int]) -> Encoder | None:
    """The encoder in a file; None if it holds none of this shape, since it can be made again."""
    try:
        with file.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as stored:
            weights, made_for = stored["weights"].astype(np.float32), str(stored["made_for"])
    except Exception:  # zipfile and NumPy raise a dozen types for a damaged file
        return None
    return Encoder(weights, made_for) if weights.shape == shape and np.isfinite(weights).all() else None


def find_doubles(
    checkpoint: str | os.PathLike[str],
    photos: np.ndarray,
    encoder: Encoder,
    seed: int = 0,
    z_distribution: str = "uniform",
    pixel_range: float = 1.0,
    alpha: float = 0.2,
) -> np.ndarray:
    """Find the latents whose pictures are most like photos.

    Args:
        checkpoint: as in `sample`.
        photos: uint8 (n, s, s, c), of the size and the channels of the generator's pictures.
        encoder: of the checkpoint, such as `encoder_of` gives; the search starts from its guess.
        seed: above 0, the search starts elsewhere, and mostly ends at a slightly different double.
        z_distribution: as in `random_latents`.
        pixel_range: as in `sample`.
        alpha: as in `sample`.

    Returns:
        Latents, float32 (n, z_dim).

    Raises:
        CheckpointError: as in `sample`.
        InputError: the photos have another size or number of channels than the generator's pictures.
    """
    _, base_filters, image_size, channels = read_architecture(checkpoint)
    if photos.shape[1:] != (image_size, image_size, channels):
        raise InputError(
            f"{checkpoint} makes pictures {(image_size, image_size, channels)}, not {photos.shape[1:]}"
        )
    uniform = z_distribution == "uniform"
    start = encode(encoder, photos)
    if seed:
        start = start + np.random.default_rng(seed).normal(0, SPREAD, start.shape)
    if uniform:  # z = tanh(w) stays within the distribution
        start = np.arctanh(np.clip(start, -LARGEST_START, LARGEST_START))
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(0)
        free = tf.get_variable("w", initializer=start.astype(np.float32))
        z = tf.tanh(free) if uniform else tf.clip_by_value(free, -LARGEST_NORMAL, LARGEST_NORMAL)
        generator(z, channels, alpha=alpha, base_filters=base_filters, image_size=image_size)
        images = sampling_output(z, channels, alpha)
        target = tf.constant((photos / 127.5 - 1) * pixel_range, tf.float32)
        difference, loss = images - target, 0.0
        for _ in range(LEVELS):
            loss += tf.reduce_sum(tf.reduce_mean(tf.square(difference), (1, 2, 3)))
            difference = tf.nn.avg_pool2d(difference, 2, 2, "VALID")
        step = tf.train.AdamOptimizer(LEARNING_RATE).minimize(loss, var_list=[free])
        with tf.Session(graph=graph) as sess:
            sess.run(tf.global_variables_initializer())
            restore(sess, checkpoint, tf.global_variables("generator"), averages=True)
            for _ in tqdm(range(STEPS), "looking for the double", unit=" steps", delay=1, file=screen()):
                sess.run(step)
            return np.asarray(sess.run(z))
