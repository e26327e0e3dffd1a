"""Latents, the generator's inputs: random latents, walks between them, shifts, and files of them."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import NormalDist

import numpy as np

from catdcgan.errors import InputError
from catdcgan.files import atomic_write, refuse_special


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


def shift_latents(z: np.ndarray, step: np.ndarray, distribution: str = "uniform") -> np.ndarray:
    """Add a step to latents, such as `direction_step` gives; the result stays within the distribution.

    Only the sum is clipped, so a step that is taken back leaves the latents as they were: shift the original
    latents by the sum of all steps, and do not shift them one step after another.

    Args:
        z: latents (n, z_dim).
        step: what to add to each: (z_dim,), or (n, z_dim).
        distribution: as in `random_latents`. The numbers of uniform latents are clipped to [-1, 1]; those of
            normal ones have no limit.

    Returns:
        Latents, float32 (n, z_dim).
    """
    moved = z + step
    return np.asarray(np.clip(moved, -1, 1) if distribution == "uniform" else moved, np.float32)


def save_latents(z: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write latents (n, z_dim) as float32 to a file in NumPy's .npy format.

    Raises:
        OSError: the file cannot be written; an existing file is kept.
    """
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.save(stream, np.asarray(z, np.float32), allow_pickle=False)


def read_latents(path: str | os.PathLike[str], z_dim: int | None = None) -> np.ndarray:
    """Read latents from a .npy file, such as `save_latents` writes.

    Args:
        path: the file.
        z_dim: the length that they must have; None accepts any.

    Returns:
        Latents, float32 (n, z_dim), with n at least 1.

    Raises:
        InputError: the file holds something else than finite numbers of this shape, or is no file.
        OSError: the file cannot be read.
    """
    refuse_special(Path(path))
    wanted = f"latents (n, {'z_dim' if z_dim is None else z_dim}) as a NumPy .npy file of numbers"
    try:
        # Mapped, so that the shape is known before a damaged header can ask for more memory than there is.
        stored = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # NumPy raises half a dozen types for a damaged header
        raise InputError(f"{path} cannot be read ({error}): expected {wanted}") from None
    fits = stored.ndim == 2 and stored.size and stored.shape[1] == (z_dim or stored.shape[1])
    if not fits or stored.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {stored.dtype} {stored.shape}: expected {wanted}")
    with np.errstate(over="ignore"):  # reported on the next line
        z = np.array(stored, np.float32)
    if not np.isfinite(z).all():
        raise InputError(f"{path} holds numbers that are not finite in float32: expected {wanted}")
    return z
