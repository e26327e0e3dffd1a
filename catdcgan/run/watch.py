"""Notices early what can go wrong in training, and warns of it."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Mapping

import numpy as np

WINDOW = 500  # steps over which the discriminator's loss is averaged
WIN_MARGIN = 0.05  # nats above the least possible loss; a healthy run stays above 0.2
GRIDS = 10  # over which the discriminator's outputs are averaged: those of single batches vary
APART = 0.1  # between its outputs on real and generated images; below, it tells nothing apart
# The discriminator's outputs on held-out images: 0 if they are as on those trained on, 1 if as on generated
# ones. Karras et al. 2020 (arXiv:2006.06676, equation 1).
OVERFITTING = 0.5
MIN_STEP = 1000  # before this step images may be alike: a new generator's are all gray
COLLAPSED = 0.1  # fraction of the real images' variety


class Watch:
    """Checks losses and images, and warns once of each kind of trouble, with its remedy."""

    def __init__(self, smooth: float) -> None:
        """Watch a run whose real images are labelled 1 - `smooth`, which bounds the loss from below."""
        # The discriminator's loss cannot fall below the entropy of its labels (in nats).
        self._least = sum(-p * math.log(p) for p in (smooth, 1 - smooth) if p > 0)
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._outputs: deque[tuple[float, float, float]] = deque(maxlen=GRIDS)
        self._warned: set[str] = set()

    def check_losses(self, step: int, d_loss: float) -> None:
        """Check the discriminator's loss (nats) of a step."""
        self._losses.append(d_loss)
        mean = sum(self._losses) / WINDOW
        if len(self._losses) == WINDOW and mean - self._least < WIN_MARGIN:
            self._warn(
                step,
                "the discriminator has won",
                f"Its loss over the last {WINDOW} steps is {mean:.3f}, where {self._least:.3f} is the least "
                "possible, and the generator learns little from it. Lower the discriminator's learning rate, "
                "or go back to an earlier checkpoint; with few pictures, use augmentation",
            )

    def check_outputs(self, step: int, record: Mapping[str, float]) -> None:
        """Check the discriminator's mean outputs on images, in a record of the history."""
        self._outputs.append((record["d_real"], record["d_fake"], record["d_held_out"]))
        real, fake, held_out = (sum(part) / len(self._outputs) for part in zip(*self._outputs, strict=True))
        if len(self._outputs) < GRIDS or real - fake < APART:
            return
        overfitting = (real - held_out) / (real - fake)
        if overfitting > OVERFITTING:
            self._warn(
                step,
                "the discriminator knows its pictures by heart",
                f"It takes them for real with {real:.2f}, held-out ones with {held_out:.2f}, and "
                f"generated ones with {fake:.2f} (means of the last {GRIDS} sample grids). Use more "
                "pictures, --augment, or an earlier checkpoint",
            )

    def check_images(self, step: int, generated: np.ndarray, real: np.ndarray) -> None:
        """Compare generated images with real ones, both (n, s, s, c): uint8, or float32 in [-1, 1]."""
        if step < MIN_STEP or len(real) < 2:
            return
        variety, expected = _variety(generated), _variety(real)
        if variety < COLLAPSED * expected:
            self._warn(
                step,
                "the generator has collapsed",
                f"Its pictures of different latents are nearly the same: they vary by {variety:.4f}, real "
                f"images by {expected:.4f}. Go back to an earlier checkpoint, and lower the learning rates "
                "or use larger batches",
            )

    def _warn(self, step: int, trouble: str, details: str) -> None:
        if trouble not in self._warned:
            self._warned.add(trouble)
            warnings.warn(f"step {step}: {trouble}. {details}", stacklevel=3)


def _variety(images: np.ndarray) -> float:
    """How much images differ: the mean standard deviation of a pixel, where black to white is 2."""
    half_range = 127.5 if images.dtype == np.uint8 else 1.0
    return float(np.std(images, axis=0, dtype=np.float32).mean()) / half_range
