"""The random numbers of a step: its latents, and which images it mirrors."""

from __future__ import annotations

import numpy as np

from catdcgan.latents import random_latents
from catdcgan.settings import Settings

# Apart from the data's order, which takes (seed, epoch). Step 0 alone shares the stream of epoch 1, because
# NumPy pads seeds with zeros. That does no harm, and another number would change the bits of every run.
STEP_STREAM = 1


def step_input(settings: Settings, step: int, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror half of a batch, if set, and draw latents, for the step that follows `step` steps.

    The numbers depend on the seed and the step alone, so a step can be repeated.

    Args:
        settings: of the run.
        step: steps done.
        batch: images (n, s, s, c).

    Returns:
        The images, and latents (n, z_dim).
    """
    random = np.random.default_rng((settings.seed, STEP_STREAM, step))
    z = random_latents(len(batch), settings.z_dim, random, settings.z_distribution)
    if settings.flip:
        mirrored = random.random((len(batch), 1, 1, 1)) < 0.5
        batch = np.where(mirrored, batch[:, :, ::-1], batch)
    return batch, z
