"""The CAT dataset's format: nine landmarks beside each photo, and the square face that they mark out.

``NAME.jpg`` has ``NAME.jpg.cat`` beside it: one line with a count, 9, and nine pairs x y in pixels, x to the
right and y down from the top left corner. "Left" is the viewer's left. A landmark may lie outside the photo.
The dataset is by Zhang, Sun and Tang 2008 ("Cat Head Detection", ECCV); the crop follows the rules of Alexia
Jolicoeur-Martineau's preparation (Deep-learning-with-cats, 2017), except that it is always square.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

from catdcgan.data.photos import GRAY, to_rgb

LANDMARKS = (
    "left eye",
    "right eye",
    "mouth",
    "left ear base",
    "left ear tip",
    "left ear inner",
    "right ear inner",
    "right ear tip",
    "right ear base",
)


LEFT_EYE, RIGHT_EYE, MOUTH, FIRST_EAR_BASE, LAST_EAR_BASE = 0, 1, 2, 3, 8
EYES_AT = np.array([0.5, 0.4])  # midpoint of the eyes in the cropped face, as fractions of its side
EYES_APART = 0.44  # distance of the eyes in the cropped face, on average, as a fraction of its side
LARGEST_ANNOTATION = 4096  # bytes
LARGEST_COORDINATE = 100_000  # pixels; the sides of a JPEG have at most 65,535
# Plain decimals: float() would also accept "nan", "1e999", "1_000" and digits of other scripts.
_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d{0,9})?", re.ASCII)


class AnnotationError(ValueError):
    """A text is not an annotation of the CAT dataset; the message says what was found."""


class FaceError(ValueError):
    """The landmarks mark out no usable face in the photo; the message says why."""


class SmallFaceError(FaceError):
    """The face is narrower than the requested picture."""


class FaceSquare(NamedTuple):
    """Where a face lies in its photo."""

    eyes: tuple[float, float]  # midpoint (x, y) between the eyes, in pixels of the photo
    angle: float  # degrees in (-180, 180], clockwise, by which the line between the eyes is turned
    side: float  # pixels


def read_annotation(text: str) -> np.ndarray:
    """Read the text of a .cat file.

    Returns:
        float64 (9, 2): x and y in pixels, in the order of `LANDMARKS`.

    Raises:
        AnnotationError: it is not the number 9 and 18 decimals from -100,000 to 100,000.
    """
    count, *words = text.split() or [""]
    if count != "9" or len(words) != 18:
        raise AnnotationError(f"expected the number 9 and 18 coordinates, found {_abridged(text)}")
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise AnnotationError(f"{_abridged(word)} is not a coordinate")
        if abs(float(word)) > LARGEST_COORDINATE:
            raise AnnotationError(f"the coordinate {word} is beyond {LARGEST_COORDINATE:,}")
    return np.array(words, np.float64).reshape(9, 2)


def eyes_landmarks(eyes: np.ndarray) -> np.ndarray:
    """Landmarks (9, 2) of a face of which only the eyes' places (2, 2) are known, in either order.

    The eye further left is taken for the left one, so the face must not stand on its head. The ears are put
    where they are in the average face: the eyes then lie as `EYES_APART` says.
    """
    left, right = sorted(np.asarray(eyes, np.float64), key=lambda eye: eye[0])
    middle, across = (left + right) / 2, (right - left) / EYES_APART
    down = np.array([-across[1], across[0]])
    ears = [middle - across / 2] * 3 + [middle + across / 2] * 3
    return np.array([left, right, middle + down / 2, *ears])


def face_square(landmarks: np.ndarray) -> FaceSquare:
    """Find the face's square: level with the eyes, and as wide as the outer bases of the ears are apart.

    Args:
        landmarks: (9, 2), in the order of `LANDMARKS`.

    Raises:
        FaceError: the shape is wrong, a coordinate is not finite, or both eyes are at one point.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (9, 2) or not np.isfinite(points).all():
        raise FaceError(f"expected nine pairs of finite numbers, got {points.shape}: {points.tolist()}")
    left, right, mouth = points[[LEFT_EYE, RIGHT_EYE, MOUTH]]
    if (left == right).all():
        raise FaceError("both eyes are at one point")
    # Eyes annotated in the wrong order, in a face that lies on its side: the mouth's position shows it.
    if left[0] > right[0] and left[1] < right[1] and mouth[0] > right[0]:
        left, right = right, left
    across = right - left
    ears = points[LAST_EAR_BASE] - points[FIRST_EAR_BASE]
    eyes = (left + right) / 2
    return FaceSquare(
        eyes=(float(eyes[0]), float(eyes[1])),
        angle=math.degrees(math.atan2(across[1], across[0])),
        side=float(abs(ears @ across) / math.hypot(*across)),
    )


def usable_square(landmarks: np.ndarray, photo_size: tuple[int, int], size: int) -> FaceSquare:
    """Find the face's square, if a picture of `size` x `size` pixels can be made from it.

    Raises:
        FaceError: see `face_square`; or the eyes lie outside the photo of (width, height) pixels, or the face
            is more than twice as large as the photo.
        SmallFaceError: the face's side is below `size`.
    """
    face = face_square(landmarks)
    width, height = photo_size
    (x, y), side = face.eyes, face.side
    if not (0 <= x <= width and 0 <= y <= height):
        raise FaceError(
            f"the eyes, at ({x:.0f}, {y:.0f}), lie outside the photo of {width} x {height} pixels"
        )
    if side < size:
        raise SmallFaceError(f"the face is {side:.1f} pixels wide, below {size}")
    if side > 2 * max(width, height):
        raise FaceError(f"a face {side:.0f} pixels wide, in a photo of {width} x {height} pixels")
    return face


def crop_face(photo: Image.Image, landmarks: np.ndarray, size: int = 128) -> Image.Image:
    """Cut out the face, straightened, with the eyes' midpoint at 0.5 of the width and 0.4 of the height.

    Areas outside the photo become gray (128).

    Args:
        photo: of any mode; transparent areas become gray.
        landmarks: (9, 2), in the order of `LANDMARKS`, in pixels of the photo as it is stored.
        size: side of the result in pixels.

    Returns:
        RGB picture of `size` x `size` pixels.

    Raises:
        FaceError: see `usable_square`.
    """
    eyes, angle, side = usable_square(landmarks, photo.size, size)
    # The columns are the directions in the photo of one step right and one step down in the face.
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    corners = eyes + (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - EYES_AT) * side @ turn.T
    margin = 3  # pixels that the bicubic filter reads beyond the border
    left, top = np.maximum(np.floor(corners.min(0)) - margin, 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(corners.max(0)) + margin, photo.size).astype(int).tolist()
    part = to_rgb(photo.crop((left, top, right, bottom)))

    # Three steps keep the detail that the result can show, without aliasing: reduce a large face to 1.5 times
    # the result's side, turn it at this scale with a bicubic filter, and reduce it with a Lanczos filter.
    grid = min(math.ceil(side), size * 3 // 2)
    scale = np.ones(2)
    if side > grid:
        reduced = [math.ceil(length * grid / side) for length in part.size]
        scale = np.array(reduced) / part.size
        part = part.resize((reduced[0], reduced[1]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    matrix = scale[:, None] * turn * (side / grid)
    origin = scale * (np.array(eyes) - (left, top)) - matrix @ EYES_AT * grid
    straight = part.transform(
        (grid, grid),
        Image.Transform.AFFINE,
        (*matrix[0], origin[0], *matrix[1], origin[1]),
        Image.Resampling.BICUBIC,
        fillcolor=GRAY,
    )
    return straight.resize((size, size), Image.Resampling.LANCZOS)


def _abridged(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")
