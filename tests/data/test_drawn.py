"""Drawn cats: the default data set must repeat, vary, and keep its landmarks where the picture shows them."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from catdcgan.data.drawn import CatLook, draw_cat, draw_cats, draw_look, landmarks, random_look

SIZE = 64


def looks(count: int) -> list[CatLook]:
    return [random_look(np.random.default_rng((7, i))) for i in range(count)]


def brightness_around(picture: Image.Image, point: tuple[float, float], radius: float) -> float:
    """Mean gray level within `radius` pixels of a point."""
    gray = np.asarray(picture.convert("L"), dtype=float)
    rows, columns = np.mgrid[: gray.shape[0], : gray.shape[1]]
    near = np.hypot(columns + 0.5 - point[0], rows + 0.5 - point[1]) <= radius
    return float(gray[near].mean())


def test_same_seed_draws_the_same_bits_and_a_smaller_set_is_a_prefix_of_a_larger_one() -> None:
    cats = draw_cats(9, SIZE, seed=3)
    assert np.array_equal(draw_cats(6, SIZE, seed=3), cats[:6])
    assert np.array_equal(np.asarray(draw_cat(np.random.default_rng((3, 2)), SIZE)), cats[2])


def test_another_seed_draws_other_cats() -> None:
    first, second = draw_cats(6, SIZE, seed=3), draw_cats(6, SIZE, seed=4)
    assert all(np.abs(a.astype(int) - b).mean() > 3 for a, b in zip(first, second, strict=True))


def test_progress_bar_shows_and_changes_no_cat(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = draw_cats(2, 32)
    assert capsys.readouterr().err == ""
    assert np.array_equal(draw_cats(2, 32, progress=True), quiet)
    assert "painting cats" in capsys.readouterr().err


@pytest.mark.parametrize("size", [16, 32, 64, 128, 130])
def test_cats_have_the_asked_shape_and_use_the_whole_range_of_gray(size: int) -> None:
    cats = draw_cats(3, size)
    assert (cats.shape, cats.dtype.name) == ((3, size, size, 3), "uint8")
    assert cats.min() < 40
    assert cats.max() > 220


def test_gray_cats_have_one_channel_and_are_the_colour_ones_in_gray() -> None:
    gray = draw_cats(2, SIZE, mode="L")
    assert (gray.shape, gray.dtype.name) == ((2, SIZE, SIZE, 1), "uint8")
    in_colour = Image.fromarray(draw_cats(2, SIZE)[1])
    assert np.array_equal(gray[1, :, :, 0], np.asarray(in_colour.convert("L")))


def test_no_two_of_200_cats_are_alike() -> None:
    cats = draw_cats(200, 32).reshape(200, -1).astype(np.float32)
    squares = (cats**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * cats @ cats.T
    np.fill_diagonal(distances, np.inf)
    assert np.sqrt(distances.min() / cats.shape[1]) > 4  # gray levels, root mean square


def test_cats_vary_in_colour_coat_eyes_pose_and_every_other_property() -> None:
    many = looks(200)
    pictures = np.stack([np.asarray(draw_look(look, 32), dtype=float) for look in many])
    assert pictures.mean(axis=(1, 2)).std(axis=0).min() > 12  # of red, green and blue alike
    assert {look.coat.pattern for look in many} == {"solid", "tabby", "tuxedo", "calico", "pointed"}
    assert len({look.eye_colour for look in many}) >= 6
    assert len({look.background for look in many}) == 200
    assert np.std([look.tilt for look in many]) > 3
    assert max(abs(look.tilt) for look in many) <= 12
    for field in dataclasses.fields(CatLook):
        assert len({getattr(look, field.name) for look in many}) > 1, field.name


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(CatLook) if f.type in (float, "float")])
def test_every_length_and_angle_of_a_look_changes_the_picture(field: str) -> None:
    tuxedo = next(look for look in looks(60) if look.coat.pattern == "tuxedo")
    changed = dataclasses.replace(tuxedo, **{field: getattr(tuxedo, field) * 1.3 + 0.02})
    assert draw_look(tuxedo, SIZE).tobytes() != draw_look(changed, SIZE).tobytes()


def test_pupils_and_the_mouths_dark_line_are_where_the_landmarks_say() -> None:
    for look in looks(60):
        picture, (*eyes, mouth) = draw_look(look, 128), landmarks(look, 128)[:3]
        for eye in eyes:
            pupil = brightness_around(picture, eye, 1.5)
            assert pupil < 60, look
            assert brightness_around(picture, eye, 9) > pupil + 15, f"no iris is around it: {look}"
        assert brightness_around(picture, mouth, 1.5) < brightness_around(picture, mouth, 8) - 2, look


def test_ear_tip_landmarks_divide_ear_from_background() -> None:
    green, red = (0, 255, 0), (255, 0, 0)
    for look in looks(40):
        look = dataclasses.replace(look, background=(green, green), ear_colours=(red, red), shift=(0.0, 0.1))
        picture = np.asarray(draw_look(look, 128)).astype(int)
        points = np.array(landmarks(look, 128))
        for base, tip, inner in (points[3:6], points[[8, 7, 6]]):
            middle = (base + inner) / 2
            inside, outside = tip + 0.12 * (middle - tip), tip - 0.12 * (middle - tip)
            for (x, y), is_ear in ((inside, True), (outside, False)):
                r, g, _ = picture[int(y), int(x)]
                assert (r > g) == is_ear, look


def test_landmarks_come_in_the_cat_datasets_order() -> None:
    for look in looks(40):
        points = landmarks(dataclasses.replace(look, tilt=0.0), 100)
        assert len(points) == 9
        x, y = np.array(points).T
        left_to_right = [3, 5, 2, 6, 8]  # ear base, ear inner, mouth, ear inner, ear base
        assert list(x[left_to_right]) == sorted(x[left_to_right])
        assert x[0] < x[2] < x[1]
        assert y[4] < y[5] < y[3] < y[2]  # tip, inner, base, mouth: downwards
        assert y[7] < y[6] < y[8] < y[2]
        assert np.allclose(x[:2].mean(), 50, atol=3)
        assert np.allclose(y[:2], 40, atol=4)
        assert 79 < x[8] - x[3] < 105  # the face fills the picture, as in the CAT dataset's crop


def test_positive_tilt_turns_the_head_clockwise_and_landmarks_grow_with_the_picture() -> None:
    look = dataclasses.replace(looks(1)[0], tilt=10.0)
    left_eye, right_eye = landmarks(look, 64)[:2]
    assert right_eye[1] > left_eye[1]
    assert np.allclose(np.array(landmarks(look, 64)) * 2, landmarks(look, 128))


def test_left_and_right_of_an_untilted_solid_face_mirror_each_other() -> None:
    solid = next(look for look in looks(60) if look.coat.pattern == "solid")
    look = dataclasses.replace(solid, tilt=0.0, shift=(0.0, 0.0), light=0.0)
    picture = np.asarray(draw_look(look, 128)).astype(int)
    assert np.abs(picture - picture[:, ::-1]).mean() < 2


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: draw_cats(0), "count must be at least 1, got 0"),
        (lambda: draw_cats(1, 15), "at least 16 pixels, got 15"),
        (lambda: draw_cats(1, mode="RGBA"), "mode must be one of RGB, L, got 'RGBA'"),
        (lambda: draw_cats(1, seed=-1), "non-negative"),
        (lambda: draw_cat(np.random.default_rng(0), 8), "got 8"),
    ],
)
def test_nonsense_is_refused_with_a_message_that_names_it(draw: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
