"""Which pictures show a cat's face, by OpenCV's detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def can_find_faces() -> bool:
    """Whether OpenCV is installed, in a version that has the detector, and with the detector's file."""
    try:
        from cv2 import CascadeClassifier, data  # noqa: F401
    except ImportError:
        return False
    return True


def faces_found(images: Iterable[np.ndarray]) -> Iterator[bool]:
    """Say of each uint8 image (size, size, 3) whether OpenCV finds a cat's face in it.

    Raises:
        ImportError: OpenCV 4 is not installed.
    """
    import cv2  # an optional extra
    from cv2 import CascadeClassifier  # an ImportError in OpenCV 5, which no longer has this detector

    cascade = CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalcatface_extended.xml")
    for image in images:
        gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (192, 192))
        gray = cv2.equalizeHist(cv2.copyMakeBorder(gray, 48, 48, 48, 48, cv2.BORDER_REPLICATE))
        yield len(cascade.detectMultiScale(gray, 1.05, 3, minSize=(96, 96))) > 0
