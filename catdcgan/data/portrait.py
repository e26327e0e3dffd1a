"""One photo of a cat as the networks see it: its face, cut out and upright."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from catdcgan.data.faces import (
    AnnotationError,
    FaceError,
    crop_face,
    eyes_landmarks,
    face_square,
    read_annotation,
)
from catdcgan.data.photos import open_image, upright
from catdcgan.errors import InputError

LEAST_SIDE = 32  # pixels; the smallest networks' pictures have as many


def read_face(
    photo: str | os.PathLike[str], eyes: np.ndarray | None = None, size: int = 128, mode: str = "RGB"
) -> np.ndarray:
    """Cut the face out of a photo.

    Args:
        photo: the file. If neither its eyes are given nor the CAT dataset's landmarks lie beside it, as
            ``PHOTO.cat``, the whole photo must be the face, a square.
        eyes: where they are, (2, 2) in pixels of the upright photo, the left one first.
        size: of the result in pixels; a smaller face is enlarged.
        mode: "RGB" or "L".

    Returns:
        uint8 (size, size, channels).

    Raises:
        InputError: the file cannot be read as a picture, or has no face of `LEAST_SIDE` pixels there.
        OSError: there is no such file, or it may not be read.
    """
    annotation = Path(f"{photo}.cat")
    try:
        with open_image(photo) as image:
            image.load()
            if eyes is not None:
                face = _cut(upright(image), eyes_landmarks(eyes), size)
            elif annotation.exists():  # in pixels of the photo as stored: see `prepare_photos`
                face = _cut(image, read_annotation(annotation.read_text("utf-8-sig", "replace")), size)
            else:
                face = _whole(upright(image))
    except (AnnotationError, FaceError) as error:
        raise InputError(f"{photo}: {error}") from None
    except Exception as error:  # decoders raise all kinds of errors
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{photo} cannot be read as a picture ({error})") from None
    square = face.convert(mode).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, -1)


def _cut(photo: Image.Image, landmarks: np.ndarray, size: int) -> Image.Image:
    side = int(face_square(landmarks).side)
    return crop_face(photo, landmarks, max(min(size, side), LEAST_SIDE))


def _whole(photo: Image.Image) -> Image.Image:
    if abs(photo.width - photo.height) > 1:
        raise FaceError(
            f"it has {photo.width} x {photo.height} pixels, which is no face square: say where the eyes are "
            "with --eyes, or cut the face out"
        )
    if photo.width < LEAST_SIDE:
        raise FaceError(f"the face is {photo.width} pixels wide, below {LEAST_SIDE}")
    return photo
