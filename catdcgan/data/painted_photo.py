"""A painted photo with landmarks, such as the CAT dataset has, for where that is not at hand."""

from __future__ import annotations

import numpy as np
from PIL import Image

from catdcgan.data.drawn import draw_look, landmarks, random_look

WALL = (96, 128, 112)  # the colour behind the cat


def paint_photo(seed: int, degrees: float, size: int = 300) -> tuple[Image.Image, np.ndarray]:
    """Paint a photo as the CAT dataset has them: a cat somewhere in it, its head turned, with landmarks.

    Args:
        seed: decides the look of the cat.
        degrees: by which the head is turned, counter-clockwise as seen.
        size: side of the photo in pixels; the cat has a good half of that.

    Returns:
        The RGB photo, and its landmarks: float64 (9, 2), x and y in pixels, in the order of `landmarks`.
    """
    look, cat = random_look(np.random.default_rng(seed)), size * 8 // 15
    corner, centre = (size - cat) // 2, size / 2
    photo = Image.new("RGB", (size, size), WALL)
    photo.paste(draw_look(look, cat), (corner, corner))
    photo = photo.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=WALL)
    points = np.array(landmarks(look, cat)) + corner - centre
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return photo, points @ [[cos, -sin], [sin, cos]] + centre
