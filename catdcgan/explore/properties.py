"""Properties of cat faces, measured in pictures: what the named directions of `directions` are found from.

The eyes of the faces that `prepare` cuts lie at (0.28, 0.40) and (0.72, 0.40) of the picture's side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 128  # pictures are measured at this size
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE  # where each pixel is, in parts of the side
EYES = (0.28, 0.72), 0.40  # x of both, and y

TO_EYE = np.minimum(*(np.hypot(X - x, Y - EYES[1]) for x in EYES[0]))  # distance to the nearer eye
BESIDE_EYE = np.minimum(*(np.abs(X - x) for x in EYES[0])) < 0.03
ABOVE_EYE = np.abs(Y - EYES[1])  # or below

FACE = np.hypot(X - 0.5, Y - 0.5) < 0.38
BORDER = np.abs(X - 0.5) > 0.43
MIDDLE = (X >= 0.125) & (X < 0.875) & (Y >= 0.125) & (Y < 0.875)
FOREHEAD = (np.abs(X - 0.5) < 0.14) & (Y > 0.08) & (Y < 0.3)
CHEEKS = (Y > 0.15) & (Y < 0.35) & (np.abs(X - 0.5) > 0.3)
IRIS = (TO_EYE > 0.02) & (TO_EYE < 0.045)
EYE = BESIDE_EYE & (ABOVE_EYE < 0.04)
LIDS = BESIDE_EYE & (ABOVE_EYE >= 0.055) & (ABOVE_EYE < 0.085)


class Property(NamedTuple):
    """What the two ends of a property look like, and how far a cat can be moved towards them."""

    less: str
    more: str
    low: float = -2  # in standard deviations of the property among the generator's cats; found by looking
    high: float = 2
    of_colour: bool = False  # cannot be measured in grayscale pictures


PROPERTIES = {
    "coat": Property("dark", "light"),
    "colour": Property("gray", "ginger", high=1.5, of_colour=True),
    "stripes": Property("plain", "tabby", low=-1.5),
    "light": Property("right", "left"),
    "white-face": Property("none", "tuxedo"),
    "eyes": Property("narrow", "round", of_colour=True),
    "eye-colour": Property("dark", "bright"),
    "background": Property("dark", "light", high=1.5),
}


def measure_properties(image: np.ndarray) -> dict[str, float]:
    """Measure the properties of a cat face by the brightness and colour of parts of its picture.

    Args:
        image: uint8 (s, s, c), the face in the place where `prepare` puts it.

    Returns:
        Each of `PROPERTIES` by name, in parts of white; those of colour only if c is 3.
    """
    if image.shape[0] != SIDE:
        picture = Image.fromarray(image.squeeze()).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image = np.asarray(picture).reshape(SIDE, SIDE, -1)
    pixels = image.astype(np.float32) / 255
    gray = pixels.mean(2)
    edges = np.abs(np.diff(gray, axis=1, prepend=0))
    measured = {
        "coat": gray[FACE].mean(),
        "stripes": edges[FOREHEAD].mean() + edges[CHEEKS].mean(),
        "light": gray[FACE & (X < 0.5)].mean() - gray[FACE & (X > 0.5)].mean(),
        "white-face": gray[MIDDLE].std(),
        "eye-colour": gray[EYE].mean() - gray[LIDS].mean(),
        "background": gray[BORDER].mean() - gray[FACE].mean(),
    }
    if pixels.shape[2] == 3:
        red, green, blue = np.moveaxis(pixels, 2, 0)
        measured["colour"] = (red - blue)[FACE].mean()
        # Only where an eye is open is its iris seen, greener than the fur.
        measured["eyes"] = (green - red)[IRIS].mean() - (green - red)[FACE].mean()
    return {name: float(measured[name]) for name in PROPERTIES if name in measured}
