"""A face must come out square, upright and in its place, and a damaged annotation must be told as one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from catdcgan.data.drawn import draw_look, landmarks, random_look
from catdcgan.data.faces import (
    LANDMARKS,
    AnnotationError,
    FaceError,
    SmallFaceError,
    crop_face,
    face_square,
    read_annotation,
)

MAGENTA = (255, 0, 255)  # no cat is drawn in it

# Eyes level, 40 apart; ears 100 apart; a face of 100 pixels.
FACE = np.array(
    [[80, 100], [120, 100], [100, 130], [50, 90], [55, 50], [70, 70], [130, 70], [145, 50], [150, 90]], float
)
few_examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def changed_face(landmark: int, x: float, y: float) -> np.ndarray:
    """`FACE` with one landmark elsewhere."""
    points = FACE.copy()
    points[landmark] = x, y
    return points


def turned(points: np.ndarray, degrees: float, about: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Points (n, 2) turned clockwise, as seen with y down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.asarray((points - about) @ np.array([[cos, sin], [-sin, cos]]) + about)


def annotated_photo(
    degrees: float, eyes: tuple[float, float], photo_size: tuple[int, int] = (700, 600), cat: int = 330
) -> tuple[Image.Image, np.ndarray]:
    """A drawn cat, its eyes marked in magenta, turned and placed in a photo; and its landmarks there."""
    look = replace(random_look(np.random.default_rng(3)), tilt=0.0, shift=(0.0, 0.0))
    picture = draw_look(look, cat)
    points = np.array(landmarks(look, cat))
    for x, y in points[:2]:
        ImageDraw.Draw(picture).ellipse((x - 9, y - 9, x + 9, y + 9), fill=MAGENTA)
    middle = points[:2].mean(0)
    # Where each pixel of the photo comes from: the inverse turn.
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = middle - np.array([[cos, sin], [-sin, cos]]) @ eyes
    photo = picture.transform(
        photo_size, Image.Transform.AFFINE, (cos, sin, x, -sin, cos, y), Image.Resampling.BICUBIC
    )
    return photo, turned(points - middle, degrees) + eyes


def check_eyes(face: Image.Image) -> None:
    """The centres of the magenta in the left and in the right half must be where the crop puts eyes."""
    red, green, blue = np.moveaxis(np.asarray(face).astype(float), 2, 0)
    rows, columns = np.nonzero((red > 190) & (blue > 190) & (green < 90))
    left = columns < face.width / 2
    centres = [(columns[half].mean() + 0.5, rows[half].mean() + 0.5) for half in (left, ~left)]
    (left_x, left_y), (right_x, right_y) = np.array(centres) / face.width
    assert (left_y, right_y) == pytest.approx((0.4, 0.4), abs=0.02)
    assert left_y == pytest.approx(right_y, abs=0.01)
    assert left_x + right_x == pytest.approx(1, abs=0.02)


# --- annotations -------------------------------------------------------------------------------------------
def test_annotation_is_nine_points_in_the_files_order() -> None:
    points = read_annotation("9 175 160 239 162 199 199 149 121 137 78 -36 +2.5 281 101 312 96 296 133\r\n")
    assert (points.shape, points.dtype.name) == ((9, 2), "float64")
    assert points[[0, 5]].tolist() == [[175, 160], [-36, 2.5]]
    assert points[LANDMARKS.index("mouth")].tolist() == [199, 199]
    assert points[LANDMARKS.index("right ear base")].tolist() == [296, 133]


ONES = " 1" * 17
NUMBERS = ("left", "nan", "inf", "1_0", "1e9", "١٢", "7" * 5000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, "expected the number 9 and 18")
            for text in ("  \n", "9", "9" + ONES, "8 1" + ONES, "1 " * 18)
        ),
        ("9 1 1" + ONES, "expected the number 9 and 18"),
        *((f"9 {number}{ONES}", f"'{number[:60]}.*' is not a coordinate") for number in NUMBERS),
        *((f"9 {number}{ONES}", f"{number} is beyond 100,000") for number in (100001, -100001)),
        ("", "found ''"),
        ("cats " * 10_000, "found 'cats"),
    ],
)
def test_text_that_is_no_annotation_is_told_as_one_in_a_short_message(text: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as raised:
        read_annotation(text)
    assert len(str(raised.value)) < 150


@few_examples
@given(
    st.text() | st.lists(st.text("0123456789.-+e _naif", max_size=6), max_size=20).map("9 ".__add__("").join)
)
def test_any_text_is_an_annotation_or_an_annotation_error(text: str) -> None:
    try:
        points = read_annotation(text)
    except AnnotationError:
        return
    assert points.shape == (9, 2)
    assert np.isfinite(points).all()


@few_examples
@given(
    st.lists(
        st.integers(-100_000, 100_000) | st.decimals(-100_000, 100_000, places=3), min_size=18, max_size=18
    )
)
def test_annotation_survives_being_written_and_read(numbers: list[float]) -> None:
    text = "9 " + " ".join(f"{number:f}" for number in numbers) + " "
    assert read_annotation(text).ravel().tolist() == [float(number) for number in numbers]


# --- the square --------------------------------------------------------------------------------------------
def test_square_is_as_wide_as_the_ear_bases_are_apart_along_the_eyes_line() -> None:
    assert face_square(FACE) == ((100, 100), 0, 100)
    # A raised ear is as far to the right as before: what counts is x alone.
    assert face_square(changed_face(8, 150, 10)).side == 100


@few_examples
@given(
    degrees=st.floats(-89, 89), scale=st.floats(0.01, 100), x=st.floats(-1000, 1000), y=st.floats(-1000, 1000)
)
def test_square_moves_turns_and_grows_with_the_face(degrees: float, scale: float, x: float, y: float) -> None:
    square = face_square(turned(FACE - 100, degrees) * scale + (x, y))
    assert square.eyes == pytest.approx((x, y), abs=1e-6)
    assert (square.angle, square.side) == pytest.approx((degrees, 100 * scale), rel=1e-6, abs=1e-6)


def test_eyes_in_the_wrong_order_are_swapped_if_the_mouth_says_so() -> None:
    lying = turned(FACE, -40, (100, 100))  # the viewer's right eye is the higher one
    mistaken = lying[[1, 0, *range(2, 9)]]
    for one, other in zip(face_square(mistaken), face_square(lying), strict=True):
        assert one == pytest.approx(other)


def test_face_upside_down_in_the_photo_stays_as_annotated() -> None:
    # Left eye right of and above the right one, as in the case above, but the mouth is to their left.
    assert face_square(turned(FACE, 120, (100, 100))).angle == pytest.approx(120)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        *((changed_face(4, 55, bad), "finite") for bad in (math.nan, math.inf, -math.inf)),
        (FACE[:8], r"got \(8, 2\)"),
        (changed_face(1, *FACE[0]), "both eyes are at one point"),
    ],
)
def test_landmarks_that_make_no_square_are_an_error(points: np.ndarray, message: str) -> None:
    with pytest.raises(FaceError, match=message):
        face_square(points)


# --- the crop ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("eyes", [(350, 300), (8, 300), (692, 300), (350, 8), (350, 592), (8, 8)])
@pytest.mark.parametrize("degrees", [-60, -37, 0, 15, 60])
def test_eyes_come_out_level_and_in_their_place(degrees: float, eyes: tuple[float, float]) -> None:
    photo, points = annotated_photo(degrees, eyes)
    face = crop_face(photo, points)
    assert (face.size, face.mode) == ((128, 128), "RGB")
    # A canvas larger than the photo shows the eyes that the border hides; the crop sees the photo alone.
    whole = crop_face(*annotated_photo(degrees, (eyes[0] + 200, eyes[1] + 200), (1100, 1000)))
    check_eyes(whole)
    # Cut at the border it is the same picture, but for the gray beyond the border.
    x, y = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    offsets = np.stack([x - 64, y - 0.4 * 128], -1).reshape(-1, 2) * face_square(points).side / 128
    px, py = (turned(offsets, degrees) + eyes).T.reshape(2, 128, 128)
    inside = (px > 12) & (px < photo.width - 12) & (py > 12) & (py < photo.height - 12)
    outside = (px < -12) | (px > photo.width + 12) | (py < -12) | (py > photo.height + 12)
    difference = np.abs(np.asarray(face).astype(int) - np.asarray(whole))
    assert difference[inside].mean() < 1  # the two are reduced on other grids of pixels
    assert difference[inside].max() < 40
    assert (np.asarray(face)[outside] == 128).all()
    assert outside.any() == (eyes != (350, 300))


@pytest.mark.parametrize(("size", "cat"), [(32, 330), (100, 330), (256, 330), (100, 1000)])
def test_eyes_are_in_their_place_at_any_size_of_face_and_picture(size: int, cat: int) -> None:
    check_eyes(crop_face(*annotated_photo(-25, (700, 600), (1400, 1200), cat), size))


def stripes(period: float) -> Image.Image:
    row = 128 + 100 * np.cos(2 * np.pi / period * np.arange(1000))
    return Image.fromarray(np.broadcast_to(row.astype(np.uint8), (1000, 1000)).copy())


@pytest.mark.parametrize("factor", [1.9, 2.5, 2.99, 3.5, 4.0, 7.7])
@pytest.mark.parametrize("period", [2, 2.3, 2.7])
def test_stripes_too_fine_for_the_result_blur_to_gray(factor: float, period: float) -> None:
    """Without a filter against aliasing they come out as stripes of another width."""
    face = crop_face(stripes(period), (FACE - 100) * factor * 0.64 + (500, 500), 64)
    assert np.asarray(face).std() < 10  # of 71; OpenCV's area filter leaves up to 20


def test_fine_detail_that_the_result_can_show_is_kept() -> None:
    face = crop_face(stripes(8), turned(FACE - 100, 10) * 1.28 + (500, 500), 64)  # period 4 in the result
    assert np.asarray(face).std() > 0.85 * 100 / math.sqrt(2)


PHOTO = Image.new("RGB", (200, 200), (200, 200, 200))


def test_face_of_just_the_wanted_size_is_taken_and_one_below_is_not() -> None:
    assert crop_face(PHOTO, FACE, 100).size == (100, 100)
    with pytest.raises(SmallFaceError, match=r"100\.0 pixels wide, below 101"):
        crop_face(PHOTO, FACE, 101)


@pytest.mark.parametrize("shift", [(-101, 0), (101, 0), (0, -101), (0, 101), (90_000, 0)])
def test_eyes_outside_the_photo_are_an_error(shift: tuple[int, int]) -> None:
    with pytest.raises(FaceError, match=r"lie outside the photo of 200 x 200 pixels"):
        crop_face(PHOTO, FACE + shift, 32)


def test_face_far_larger_than_its_photo_is_an_error_and_takes_no_memory() -> None:
    with pytest.raises(FaceError, match="99950 pixels wide"):
        crop_face(PHOTO, changed_face(8, 100_000, 90), 32)


def test_photo_that_was_handed_in_stays_as_it_was(tmp_path: Path) -> None:
    Image.new("RGB", (800, 800), MAGENTA).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as photo:
        crop_face(photo, FACE * 4, 32)
        assert photo.size == (800, 800)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_photo_of_any_mode_makes_an_rgb_face(mode: str) -> None:
    if mode == "I;16":
        photo = Image.fromarray(np.full((200, 200), 200 * 256, np.uint16))
    else:
        photo = (PHOTO.convert("L") if mode == "LA" else PHOTO).convert(mode)
    face = crop_face(photo, FACE, 64)
    assert face.mode == "RGB"
    assert abs(np.asarray(face).mean() - 200) < 5
