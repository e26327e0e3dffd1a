"""The details of pictures: patterns that a generator leaves, and how far details are from those of photos."""

from __future__ import annotations

import numpy as np


def grid_pattern(images: np.ndarray) -> tuple[float, float, float]:
    """How strong patterns with periods of 2, 4 and 8 pixels are in images (n, size, size, 3), size >= 32.

    For each period: the power at its frequencies that no shorter period has, each divided by the geometric
    mean of the power around it, on average. A window fades out the borders, whose jump has every frequency.
    """
    size = images.shape[1]
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    power = np.zeros((size, size))
    for start in range(0, len(images), 64):
        gray = images[start : start + 64] @ np.array([0.299, 0.587, 0.114], np.float32)
        gray -= gray.mean((1, 2), keepdims=True)
        power += (np.abs(np.fft.fft2(gray * window * window[:, None])) ** 2).sum(0)
    reach = min(6, size // 8 - 1)  # stops before the next such frequency
    offsets = np.arange(-reach, reach + 1)
    around = np.maximum(abs(offsets), abs(offsets[:, None])) > 2  # the window spreads a peak over 2

    def strength(period: int) -> float:
        unit, ratios = size // period, []
        for row in range(period):
            for column in range(period):
                if row % 2 or column % 2:
                    place = np.ix_((row * unit + offsets) % size, (column * unit + offsets) % size)
                    background = np.exp(np.log(power[place][around] + 1e-9).mean())
                    ratios.append(power[row * unit, column * unit] / background)
        return float(np.mean(ratios))

    return strength(2), strength(4), strength(8)


def blur(images: np.ndarray) -> np.ndarray:
    """Smooth float32 images (n, size, size, c) with the 5 x 5 Gaussian filter of image pyramids."""
    size = images.shape[1]
    for axis in (1, 2):
        lines = np.pad(images.swapaxes(0, axis), ((2, 2), (0, 0), (0, 0), (0, 0)), "reflect")
        weights = np.array((1, 4, 6, 4, 1), np.float32) / 16
        smooth = sum(weight * lines[start : start + size] for start, weight in enumerate(weights))
        images = np.asarray(smooth).swapaxes(0, axis)
    return images


def laplacian_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Split (n, size, size, c) images into the detail lost at each halving, and the rest, at most 16 px."""
    levels, images = [], images.astype(np.float32)
    while images.shape[1] > 16:
        smaller = blur(images)[:, ::2, ::2]
        enlarged = np.zeros_like(images)
        enlarged[:, ::2, ::2] = 4 * smaller
        levels.append(images - blur(enlarged))
        images = smaller
    return [*levels, images]


def patches(images: np.ndarray) -> np.ndarray:
    """Take 64 patches of 7 x 7 pixels from each of (n, size, size, c), and normalize their channels."""
    count, size, _, channels = images.shape
    row, column = np.random.default_rng(0).integers(0, size - 6, (2, count, 64, 1, 1))
    across = np.arange(7)
    taken = images[np.arange(count)[:, None, None, None], row + across[:, None], column + across]
    taken = taken.reshape(-1, 7, 7, channels)
    taken = (taken - taken.mean((0, 1, 2))) / (taken.std((0, 1, 2)) + 1e-9)
    return np.asarray(taken.reshape(len(taken), -1))


def sliced_wasserstein(one: np.ndarray, other: np.ndarray, directions: int = 256) -> float:
    """Distance between two sets of equally many points (n, d): the mean over random directions."""
    axes = np.random.default_rng(0).standard_normal((one.shape[1], directions), np.float32)
    axes /= np.linalg.norm(axes, axis=0)
    return float(np.abs(np.sort(one @ axes, 0) - np.sort(other @ axes, 0)).mean())


def details(images: np.ndarray) -> list[np.ndarray]:
    """The patches from each level of the images' pyramids; images are (n, size, size, c)."""
    return [patches(level) for level in laplacian_pyramid(images)]


def detail_distances(one: list[np.ndarray], other: list[np.ndarray]) -> list[float]:
    """The sliced Wasserstein distance, times 1,000, at each level, of equally many pictures' details."""
    return [1000 * sliced_wasserstein(a, b) for a, b in zip(one, other, strict=True)]
