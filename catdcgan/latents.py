"""Latents, the generator's inputs: random latents, and walks between them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np


def random_latents(
    count: int,
    z_dim: int,
    seed: int | np.random.Generator = 0,
    distribution: str = "uniform",
    truncate: float | None = None,
) -> np.ndarray:
    """Make random latents (count, z_dim), float32; the same seed gives the same latents.

    Args:
        count: number of latents.
        z_dim: length of a latent.
        seed: a number, or a `numpy.random.Generator`.
        distribution: "uniform" in [-1, 1], as in the article, or the standard "normal".
        truncate: keep the latents' numbers within [-truncate, truncate]: cats then differ less, and fewer go
            wrong (the truncation trick of Brock et al. 2019, arXiv:1809.11096). The distribution is the same
            as if numbers outside were replaced by new ones. But here a smaller bound moves each number of a
            seed closer to 0, so the cats of one seed stay related.

    Raises:
        ValueError: the distribution is unknown, or `truncate` is not above 0, or is above 1 for uniform
            latents.
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

    Each keeps its quantile, so it does not depend on the others, as it would if some were replaced.
    """
    normal = NormalDist()
    low, high = normal.cdf(-bound), normal.cdf(bound)
    squeeze = np.vectorize(lambda number: normal.inv_cdf(low + (high - low) * normal.cdf(number)), [float])
    return np.asarray(squeeze(z))


def interpolate(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    """Interpolate linearly between two latents (z_dim,): float32 (count, z_dim), both ends included."""
    return np.linspace(start, end, count, dtype=np.float32)


def round_walk(stops: np.ndarray, count: int) -> np.ndarray:
    """Walk from each latent to the next in `count` steps, and from the last back to the first, as a loop.

    Args:
        stops: latents (n, z_dim).
        count: steps from one stop to the next.

    Returns:
        Latents, float32 (n * count, z_dim); row i * count is stop i.
    """
    pairs = zip(stops, np.roll(stops, -1, axis=0), strict=True)
    return np.concatenate([interpolate(start, end, count + 1)[:-1] for start, end in pairs])
