"""The figures of benchmarks/quality.py must tell good pictures from bad ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from catdcgan import Dataset, draw_cats, random_latents
from catdcgan.cli import main as catdcgan


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("quality")


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Drawn cats as large and as many as makes the figures steady: uint8 (130, 64, 64, 3)."""
    return draw_cats(130, size=64, seed=1)


def add(images: np.ndarray, change: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(images + change, 0, 255), np.uint8)


def test_variety_is_the_mean_distance_of_two_pictures_in_gray_levels(quality: ModuleType) -> None:
    levels = np.array([0, 30, 90], np.uint8)
    flat = np.broadcast_to(levels[:, None, None, None], (3, 32, 32, 3))
    assert quality.variety(flat) == pytest.approx((30 + 60 + 90) / 3, rel=1e-3)
    assert quality.variety(flat[:1].repeat(4, 0)) == pytest.approx(0, abs=0.1)


def test_closest_pair_is_found_whatever_its_brightness(photos: np.ndarray, quality: ModuleType) -> None:
    images = photos[:20].copy()
    distance = quality.closest_pair(images)[0]
    images[17] = images[4] * 0.6 + 20
    closer, *pair = quality.closest_pair(images)
    assert pair == [4, 17]
    assert closer < 0.05 < 0.2 < distance


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_smooth_pictures_have_no_grid_pattern_and_planted_ones_are_told_apart_by_period(
    size: int, quality: ModuleType
) -> None:
    random = np.random.default_rng(0)
    small = random.integers(60, 200, (200, 6, 6, 3), np.uint8)
    bicubic = Image.Resampling.BICUBIC
    smooth = [np.asarray(Image.fromarray(image).resize((size, size), bicubic)) for image in small]
    images = add(np.array(smooth), random.normal(0, 8, (200, size, size, 3)))
    assert np.allclose(quality.grid_pattern(images), 1, atol=0.25)
    row, column = np.indices((size, size))
    for place, period in enumerate((2, 4, 8)):
        checkers = (row // (period // 2) + column // (period // 2)) % 2 * 8 - 4
        planted = np.array(quality.grid_pattern(add(images, checkers[:, :, None])))
        assert planted[place] > 3
        assert np.allclose(np.delete(planted, place), 1, atol=0.3)


def test_pyramid_adds_up_to_the_pictures(photos: np.ndarray, quality: ModuleType) -> None:
    levels = quality.laplacian_pyramid(photos[:3])
    assert [level.shape for level in levels] == [(3, size, size, 3) for size in (64, 32, 16)]
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        enlarged = np.zeros_like(level)
        enlarged[:, ::2, ::2] = 4 * whole
        whole = level + quality.blur(enlarged)
    assert np.allclose(whole, photos[:3], atol=0.01)
    flat = quality.laplacian_pyramid(np.full((1, 32, 32, 3), 77, np.uint8))
    assert np.allclose(flat[0], 0, atol=0.01), "what is even has no details, at the borders neither"
    assert np.allclose(flat[1], 77, atol=0.01)


def test_sliced_wasserstein_distance_of_shifted_points_is_their_shift(quality: ModuleType) -> None:
    points = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    assert quality.sliced_wasserstein(points, points[::-1]) == 0
    # A direction sees |cos| of the shift, whose mean over the sphere is one half.
    shifted = points + np.array([2, 0, 0])
    assert quality.sliced_wasserstein(points, shifted, 4000) == pytest.approx(1, rel=0.03)


def test_blur_or_noise_drives_the_details_of_the_same_kind_of_picture_apart(
    photos: np.ndarray, quality: ModuleType
) -> None:
    one, theirs = photos[:65], quality.details(photos[65:])
    noise = np.random.default_rng(0).normal(0, 20, one.shape)
    changed = (one, quality.blur(one.astype(np.float32)), add(one, noise))
    same, smooth, noisy = (quality.detail_distances(quality.details(images), theirs) for images in changed)
    assert len(same) == 3
    assert smooth[0] > 2 * same[0]
    assert noisy[0] > 2 * same[0]
    assert noisy[2] < 2 * same[2], "noise averages out in what is small"


def test_nearest_photos_come_first_and_mirrored_ones_count(photos: np.ndarray, quality: ModuleType) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (2, 64, 64, 3))
    images = add(np.stack([photos[99], photos[42][:, ::-1]]), noise)
    near = quality.find_neighbours(images, photos, 10)
    assert near.number[:, 0].tolist() == [99, 42]
    assert near.mirrored[:, 0].tolist() == [False, True]
    assert (near.distance[:, 0] < 0.2).all()
    assert (np.diff(near.distance) >= 0).all()
    assert near.distance.shape == near.number.shape == near.mirrored.shape == (2, 10)
    sheet = np.asarray(quality.neighbour_sheet(images, photos, near))
    assert sheet.shape == (64, 8 * 64, 3)
    shown = [images[0], photos[99], images[1], photos[42][:, ::-1]]
    for cell, picture in zip((0, 1, 4, 5), shown, strict=True):
        assert np.array_equal(sheet[:, cell * 64 : (cell + 1) * 64], picture)


def test_neighbours_of_many_pictures_are_those_of_each(photos: np.ndarray, quality: ModuleType) -> None:
    many = np.concatenate([photos, photos[::-1], photos])  # more than are compared at a time
    near = quality.find_neighbours(many, photos, 2)
    assert np.array_equal(near.number[:, 0] % 130, [*range(130), *range(129, -1, -1), *range(130)])


def test_copies_are_told_from_new_pictures(photos: np.ndarray, quality: ModuleType) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (30, 64, 64, 3))

    def ratios(images: np.ndarray) -> np.ndarray:
        return np.asarray(quality.copy_ratio(quality.find_neighbours(images, photos[:100], 50)))

    assert (ratios(add(photos[:30], noise)) < quality.COPY).all()
    assert (ratios(photos[100:]) > quality.COPY).mean() > 0.8


@pytest.fixture
def opencv() -> object:
    return pytest.importorskip("cv2", reason="OpenCV is not installed: pip install -e '.[evaluate]'")


@pytest.fixture
def drawn(opencv: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder of 70 drawn cats, for what looks at them with OpenCV."""
    assert catdcgan(["draw", "--count=70", "--size=32", f"--out={tmp_path / 'cats'}"]) == 0
    capsys.readouterr()
    return tmp_path / "cats"


@pytest.mark.usefixtures("opencv")
def test_opencv_finds_the_faces_of_real_cats_and_none_in_noise(real_faces: Path, quality: ModuleType) -> None:
    files = sorted(real_faces.iterdir())[:400:10]
    assert quality.faces_found(Dataset(files, 128).images).mean() > 0.7
    noise = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)
    assert quality.faces_found(noise).tolist() == [False] * 5


@pytest.fixture
def shell(quality: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["quality.py", *map(str, arguments)])
        quality.main()

    return run


def test_without_opencv_one_line_says_what_to_install(
    shell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SystemExit, match=r"^quality\.py needs OpenCV: [^\n]*'\.\[evaluate\]'$"):
        shell("no/model.ckpt")


def test_table_has_the_photos_and_each_checkpoint_once_and_the_sheets_are_made(
    run: Path,
    drawn: Path,
    shell: Callable[..., None],
    quality: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cats, sample = draw_cats(64, size=32, seed=9), Mock()
    sample.return_value = cats
    monkeypatch.setattr(quality, "sample", sample)
    checkpoint = run / "models" / "model.ckpt"
    files = [f"{checkpoint}.data-00000-of-00001", f"{checkpoint}.index"]
    sheet, near = drawn.with_name("sheet.png"), drawn.with_name("near.png")
    shell(*files, "--data", drawn, "--count=64", "--seed=3", "--sheet", sheet, "--neighbours", near)
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["photos", str(checkpoint)]
    assert "(0.00)" not in rows[0], "a photo is no copy of itself"
    ((name, latents),) = (call.args for call in sample.call_args_list)
    assert name == str(checkpoint)
    assert np.array_equal(latents, random_latents(64, 100, seed=3))
    for file, column in ((sheet, 1), (near, 4)):
        pixels = np.asarray(Image.open(file))
        assert pixels.shape == (8 * 32, 8 * 32, 3)
        assert np.array_equal(pixels[:32, column * 32 : (column + 1) * 32], cats[1])


def test_a_folder_of_pictures_is_measured_as_a_checkpoint_is(
    drawn: Path, shell: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    shell(drawn, "--count=64")
    header, row = capsys.readouterr().out.splitlines()
    assert row.startswith(f"{drawn} 0.")
    assert "nearest" not in header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a b --sheet=s.png", "pictures of one CKPT"),
        ("a --neighbours=n.png", "--neighbours needs --data"),
        ("a --count=63", "--count is below 64"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: str, message: str, shell: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        shell(*arguments.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
