"""How much pictures differ from one another and from photos: variety, twins, copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from catdcgan.images import image_grid, shrink

SIDE = 16  # pictures are compared at this size, where faces matter but hairs and small shifts do not
FLAT = 2  # gray levels; what deviates less is nearly of one colour, and its tint no likeness
ROUNDING = 0.01  # a distance below it is none
COPY = 0.5  # fraction of the mean distance to the 50 nearest


class Neighbours(NamedTuple):
    """The photos most similar to each of n pictures, the nearest first."""

    distance: np.ndarray  # (n, k)
    number: np.ndarray  # (n, k), index of the photo
    mirrored: np.ndarray  # (n, k), whether the photo's mirror image is the one at this distance


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Scale each vector (n, d) to mean 0 and standard deviation 1, or less if its own is below `FLAT`."""
    centred = vectors - vectors.mean(1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(1, keepdims=True), FLAT))


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square difference between each of (n, d) and each of (m, d) vectors: (n, m)."""
    squares = (one**2).mean(1)[:, None] + (other**2).mean(1) - one @ other.T * (2 / one.shape[1])
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def variety(images: np.ndarray) -> float:
    """Mean distance between two different images of (n, size, size, 3), in gray levels."""
    vectors = shrink(images, SIDE)
    return float(distances(vectors, vectors).sum() / (len(images) * (len(images) - 1)))


def closest_pair(images: np.ndarray) -> tuple[float, int, int]:
    """The distance between the two most similar of images (n, size, size, 3), and their indices."""
    vectors = normalize(shrink(images, SIDE))
    apart = distances(vectors, vectors)
    apart[np.tril_indices(len(images))] = np.inf
    one, other = divmod(int(apart.argmin()), len(images))
    return float(apart[one, other]), one, other


def find_neighbours(images: np.ndarray, photos: np.ndarray, count: int) -> Neighbours:
    """Find the `count` photos most similar to each image, mirrored or not; all uint8 (., size, size, 3)."""
    vectors, straight, mirror = (normalize(shrink(x, SIDE)) for x in (images, photos, photos[:, :, ::-1]))
    parts = []
    for start in range(0, len(images), 256):  # a few megabytes at a time
        both = np.stack([distances(vectors[start : start + 256], each) for each in (straight, mirror)])
        nearer = both.min(0)
        order = np.argsort(nearer, 1)[:, :count]
        taken = (np.take_along_axis(each, order, 1) for each in (nearer, both[1] < both[0]))
        parts.append((next(taken), order, next(taken)))
    return Neighbours(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def copy_ratio(near: Neighbours) -> np.ndarray:
    """The distance to the nearest photo, divided by the mean distance to all that were found: (n,).

    It is about 0 if all of them are the same as the picture.
    """
    return np.asarray(near.distance[:, 0] / np.maximum(near.distance.mean(1), ROUNDING))


def neighbour_sheet(images: np.ndarray, photos: np.ndarray, near: Neighbours) -> Image.Image:
    """Make a grid of each image and the 3 photos nearest to it, two such groups in a row."""
    cells = []
    for number, image in enumerate(images):
        cells.append(image)
        for photo, mirrored in zip(near.number[number, :3], near.mirrored[number, :3], strict=True):
            cells.append(photos[photo][:, ::-1] if mirrored else photos[photo])
    return image_grid(np.stack(cells), columns=8)
