"""One photo of a cat as the networks see it: its face, cut out and upright."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from catdcgan.data.faces import (
    LARGEST_ANNOTATION,
    AnnotationError,
    FaceError,
    SmallFaceError,
    crop_face,
    eyes_landmarks,
    face_square,
    read_annotation,
)
from catdcgan.data.listing import annotation_of
from catdcgan.data.photos import LARGEST_PHOTO, limit_decoding, open_image, upright
from catdcgan.errors import InputError
from catdcgan.files import refuse_special

LEAST_SIDE = 32  # pixels; the smallest networks' pictures have as many


def read_face(
    photo: str | os.PathLike[str], eyes: np.ndarray | None = None, size: int = 128, mode: str = "RGB"
) -> np.ndarray:
    """Cut the face out of a photo.

    Args:
        photo: the file. Unless its eyes are given, or `has_landmarks`, the whole photo must be the face, a
            square.
        eyes: where they are, (2, 2) in pixels of the upright photo.
        size: of the result in pixels; a smaller face is enlarged.
        mode: "RGB" or "L".

    Returns:
        uint8 (size, size, channels).

    Raises:
        InputError: the file cannot be read as a picture, or has no face of `LEAST_SIDE` pixels there.
        OSError: there is no such file, or it may not be read.
    """
    annotated = eyes is None and has_landmarks(photo)
    source = annotation_of(f"{photo}") if annotated else f"{photo}"
    try:
        with _opened(photo) as (image, reduced):
            image.load()
            if eyes is not None:
                face = _at_eyes(upright(image), np.asarray(eyes, np.float64), reduced, size)
            elif annotated:  # in pixels of the photo as stored: see `prepare_photos`
                refuse_special(Path(source))
                with Path(source).open("rb") as file:
                    text = file.read(LARGEST_ANNOTATION).decode("utf-8-sig", "replace")
                face = _cut(image, read_annotation(text) / reduced, size)
            else:
                face = _whole(upright(image))
    except SmallFaceError as error:
        raise InputError(f"{source}: {error}: take a larger picture, or check where the eyes are") from None
    except (AnnotationError, FaceError) as error:
        raise InputError(f"{source}: {error}") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise all kinds of errors
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{photo} cannot be read ({error}): save it as a JPEG or PNG picture") from None
    square = face.convert(mode).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, -1)


def has_landmarks(photo: str | os.PathLike[str]) -> bool:
    """Whether the CAT dataset's landmarks lie beside a photo, as ``PHOTO.cat``."""
    return os.path.exists(annotation_of(f"{photo}"))


@contextmanager
def _opened(photo: str | os.PathLike[str]) -> Iterator[tuple[Image.Image, int]]:
    """Open a photo, and yield how many times smaller it will be decoded: 2 for a huge JPEG, else 1.

    Raises:
        FaceError: it is too large to decode.
    """
    too_large = FaceError(f"it has more than {LARGEST_PHOTO // 10**6} million pixels: make it smaller")
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd but readable photos
        try:
            image = stack.enter_context(open_image(photo))
        except Image.DecompressionBombError:
            raise too_large from None
        width, height = image.size
        if width * height > LARGEST_PHOTO:
            try:
                limit_decoding(image, width // 2, height // 2)
            except ValueError:
                raise too_large from None
        yield image, round(width / image.width)


def _at_eyes(photo: Image.Image, eyes: np.ndarray, reduced: int, size: int) -> Image.Image:
    width, height = photo.width * reduced, photo.height * reduced
    for x, y in eyes:
        if not (0 <= x <= width and 0 <= y <= height):
            raise FaceError(f"an eye, at ({x:g}, {y:g}), lies outside the {width} x {height} pixels")
    return _cut(photo, eyes_landmarks(eyes / reduced), size)


def _cut(photo: Image.Image, landmarks: np.ndarray, size: int) -> Image.Image:
    side = int(face_square(landmarks).side)
    return crop_face(photo, landmarks, max(min(size, side), LEAST_SIDE))


def _whole(photo: Image.Image) -> Image.Image:
    if abs(photo.width - photo.height) > 1:
        raise FaceError(
            f"{photo.width} x {photo.height} pixels are not a square picture of a face: say where the eyes "
            "are with --eyes, or cut the face out"
        )
    if photo.width < LEAST_SIDE:
        raise FaceError(f"the face is {photo.width} pixels wide, below {LEAST_SIDE}: take a larger picture")
    return photo
