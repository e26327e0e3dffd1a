"""A double is the picture of a latent that was looked for: of a generated cat it is that cat."""

from __future__ import annotations

import base64
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import save_lively_generator

from catdcgan import draw_cats, random_latents, sample
from catdcgan.cli import main
from catdcgan.data.faces import EYES_AT, eyes_landmarks, face_square
from catdcgan.data.portrait import read_face
from catdcgan.errors import InputError
from catdcgan.explore import lookalike
from catdcgan.explore.lookalike import Encoder, encode, encoder_of, find_doubles
from catdcgan.explore.lookalike_command import MOST_PHOTOS
from catdcgan.export.page import page_link
from catdcgan.run.checkpoint import Architecture
from catdcgan.run.checkpoint_files import ENDINGS, NAME

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of pictures of 32 pixels from latents of 8 numbers."""
    return save_lively_generator(tmp_path_factory.mktemp("model") / NAME, Architecture(8, 4, 32, 3))


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookalike, "COUNT", 1000)
        return encoder_of(model)


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.square(one.astype(float) - other).mean()))


def test_the_encoder_is_better_than_any_fixed_guess_on_pictures_it_has_not_seen(
    model: Path, encoder: Encoder
) -> None:
    z = random_latents(50, 8, seed=9)
    guessed = encode(encoder, sample(model, z))
    assert np.square(guessed - z).mean() < 0.8 * np.square(z).mean()


def test_the_search_ends_nearer_to_the_photo_than_it_began(model: Path, encoder: Encoder) -> None:
    photos = sample(model, random_latents(3, 8, seed=9))
    start = np.clip(encode(encoder, photos), -1, 1)
    found = find_doubles(model, photos, encoder)
    assert found.shape == (3, 8)
    assert np.abs(found).max() <= 1
    for photo, before, after in zip(photos, sample(model, start), sample(model, found), strict=True):
        assert rms(photo, after) < 0.7 * rms(photo, before)
    assert np.array_equal(found, find_doubles(model, photos, encoder)), "the same each time"
    assert not np.array_equal(found, find_doubles(model, photos, encoder, seed=1))


def test_photos_of_another_size_are_refused(model: Path, encoder: Encoder) -> None:
    with pytest.raises(InputError, match=r"makes pictures \(32, 32, 3\), not \(48, 48, 3\)"):
        find_doubles(model, draw_cats(1, size=48), encoder)


def test_the_encoder_is_made_once_and_again_for_another_generator(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookalike, "COUNT", 300)
    for ending in ENDINGS:
        shutil.copy(f"{model}{ending}", tmp_path / f"{NAME}{ending}")
    first = encoder_of(tmp_path / NAME)
    monkeypatch.setattr(lookalike, "_fit", None)
    again = encoder_of(tmp_path / NAME)
    assert np.array_equal(first.weights, again.weights)
    assert first.made_for == again.made_for
    with pytest.raises(TypeError):  # it would be made for other pictures
        encoder_of(tmp_path / NAME, alpha=0.3)
    save_lively_generator(tmp_path / NAME, Architecture(8, 4, 32, 3), seed=1)
    with pytest.raises(TypeError):  # it would be made
        encoder_of(tmp_path / NAME)
    (tmp_path / "encoder.npz").write_bytes(b"damaged")
    with pytest.raises(TypeError):
        encoder_of(tmp_path / NAME)


def test_eyes_alone_mark_out_the_face_in_which_they_lie_as_in_the_average_one() -> None:
    eyes = np.array([[100.0, 80.0], [144.0, 80.0]])
    square = face_square(eyes_landmarks(eyes))
    assert square.side == pytest.approx(100)
    assert square.angle == pytest.approx(0)
    assert square.eyes == pytest.approx((122, 80))
    turned = eyes_landmarks(np.array([[100.0, 80.0], [133.0, 124.0]]))
    assert face_square(turned).side == pytest.approx(125)
    assert face_square(turned).angle == pytest.approx(53.13, abs=0.01)
    assert np.array_equal(eyes_landmarks(np.array([[133.0, 124.0], [100.0, 80.0]])), turned), "either order"
    assert EYES_AT.tolist() == [0.5, 0.4]


def test_a_photo_is_cut_by_its_eyes_or_landmarks_or_is_a_face_already(tmp_path: Path) -> None:
    face = draw_cats(1, size=128)[0]
    photo = Image.new("RGB", (300, 200), "white")
    photo.paste(Image.fromarray(face), (100, 40))
    photo.save(tmp_path / "photo.png")
    eyes = np.array([[100 + 0.28 * 128, 40 + 0.4 * 128], [100 + 0.72 * 128, 40 + 0.4 * 128]])
    assert rms(read_face(tmp_path / "photo.png", eyes, 128, "RGB"), face) < 5
    points = [*eyes, (164, 130), *[(100, 60)] * 3, *[(228, 60)] * 3]
    numbers = " ".join(f"{number:.2f}" for point in points for number in point)
    (tmp_path / "photo.png.cat").write_text(f"9 {numbers}")
    assert rms(read_face(tmp_path / "photo.png", None, 128, "RGB"), face) < 5
    Image.fromarray(face).save(tmp_path / "face.png")
    assert np.array_equal(read_face(tmp_path / "face.png", None, 128, "RGB"), face)
    assert read_face(tmp_path / "face.png", None, 64, "L").shape == (64, 64, 1)


def test_a_huge_jpeg_is_decoded_at_half_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdcgan.data.portrait.LARGEST_PHOTO", 600 * 400 - 1)
    face = draw_cats(1, size=256)[0]
    photo = Image.new("RGB", (600, 400), "white")
    photo.paste(Image.fromarray(face), (200, 80))
    photo.save(tmp_path / "photo.jpg", quality=95)
    eyes = np.array([[200 + 0.28 * 256, 80 + 0.4 * 256], [200 + 0.72 * 256, 80 + 0.4 * 256]])
    small = np.asarray(Image.fromarray(face).resize((128, 128), Image.Resampling.LANCZOS))
    assert rms(read_face(tmp_path / "photo.jpg", eyes, 128, "RGB"), small) < 10
    with pytest.raises(InputError, match=r"an eye, at \(700, 9\), lies outside the 600 x 400 pixels"):
        read_face(tmp_path / "photo.jpg", np.array([[200, 9], [700, 9]]))


def test_the_link_is_the_pages() -> None:
    text = page_link(np.array([1, -1, 0.5, 2], np.float32), "uniform")
    numbers = np.frombuffer(base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4)), "<i2")
    assert text[0] == "#"
    assert numbers.tolist() == [32767, -32767, 16384, 32767]


def test_the_command_makes_a_sheet_and_latents_that_sample_takes(
    model: Path,
    encoder: Encoder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookalike, "encoder_of", lambda *args, **options: encoder)
    cats = sample(model, random_latents(2, 8, seed=9))
    for number, cat in enumerate(cats):
        Image.fromarray(cat).save(tmp_path / f"{number}.png")
    photos = [str(tmp_path / f"{number}.png") for number in (0, 1)]
    out = tmp_path / "doubles.png"
    assert main(["lookalike", *photos, "--checkpoint", str(model), f"--out={out}"]) == 0
    said = capsys.readouterr().out
    assert f"2 doubles in {out}, the latents in {out.with_suffix('.npy')}" in said
    assert said.count("link for the page: #") == 2
    z = np.load(out.with_suffix(".npy"))
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (2 * (32 + 16), 5 * 36 - 4, 3)
    assert np.array_equal(sheet[16:48, :32], cats[0])
    assert np.array_equal(sheet[16:48, 36:68], sample(model, z)[0])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("wide.png", 1, "wide.png: 80 x 40 pixels are not a square picture of a face"),
        ("wide.png --eyes=200,20,240,20", 1, "wide.png: an eye, at (200, 20), lies outside the 80 x 40"),
        ("wide.png --eyes=20,20,24,20", 1, "wide.png: the face is 9.1 pixels wide, below 32: take"),
        ("huge.png", 1, "huge.png: it has more than 64 million pixels: make it smaller"),
        ("bomb.png", 1, "bomb.png: it has more than 64 million pixels: make it smaller"),
        ("wide.png --eyes=20,20,20,20", 1, "wide.png: both eyes are at one point"),
        ("text.png", 1, "text.png cannot be read (cannot identify"),
        ("none.png", 1, "none.png: no such file or folder"),
        ("marked.png", 1, "marked.png.cat: expected the number 9"),
        ("small.png", 1, "small.png: the face is 16 pixels wide, below 32"),
        ("wide.png wide.png --eyes=1,2,3,4", 2, "--eyes fits one photo only"),
        ("wide.png --eyes=1,2,3", 2, "is not X,Y,X,Y"),
        ("wide.png --eyes=1,2,3,nan", 2, "is not X,Y,X,Y"),
        ("wide.png --eyes=(1,2),(3,4)", 2, "is not X,Y,X,Y"),
        ("wide.png --eyes=1,2,3,1e99", 2, "is not X,Y,X,Y"),
        ("small.png --out=small.png", 2, "--out would overwrite the photo small.png"),
        ("small.png --out=SMALL.PNG", 2, "--out would overwrite the photo SMALL.PNG"),
        ("piped.png", 1, "piped.png.cat is a pipe or a device"),
        (" wide.png" * (MOST_PHOTOS + 1), 2, "65 photos: give at most 64 at once"),
        ("wide.png --out=cats.txt", 2, "no picture's name"),
    ],
)
def test_bad_photos_are_one_error_each(
    arguments: str,
    status: int,
    message: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("wide.png", "marked.png", "piped.png"):
        Image.new("RGB", (80, 40)).save(name)
    Image.new("RGB", (16, 16)).save("small.png")
    with suppress(FileExistsError):  # raised by a system that ignores case, which this imitates
        os.link("small.png", "SMALL.PNG")
    Image.new("1", (8001, 8000)).save("huge.png")
    Image.new("1", (14_000, 14_000)).save("bomb.png")
    Path("text.png").write_text("no picture")
    Path("marked.png.cat").write_text("8 1 2 3")
    os.mkfifo("piped.png.cat")
    before = sorted(tmp_path.iterdir())
    try:
        ended: object = main(["lookalike", *arguments.split(), "--checkpoint", str(model)])
    except SystemExit as error:
        ended = error.code
    assert ended == status
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
