"""The figures of `catdcgan evaluate` must tell good pictures from bad ones, and its table hold them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from catdcgan import Dataset, draw_cats, random_latents, sample
from catdcgan.cli import main
from catdcgan.evaluate import details, likeness
from catdcgan.evaluate.faces import faces_found
from catdcgan.evaluate.figures import Photos, measure, table

# Where OpenCV is not installed, as in CI.
pytestmark = pytest.mark.filterwarnings("default:faces are not counted")


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """Drawn cats as large and as many as makes the figures steady: uint8 (130, 64, 64, 3)."""
    return draw_cats(130, size=64, seed=1)


def add(images: np.ndarray, change: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(images + change, 0, 255), np.uint8)


def test_variety_is_the_mean_distance_of_two_pictures_in_gray_levels() -> None:
    levels = np.array([0, 30, 90], np.uint8)
    flat = np.broadcast_to(levels[:, None, None, None], (3, 32, 32, 3))
    assert likeness.variety(flat) == pytest.approx((30 + 60 + 90) / 3, rel=1e-3)
    assert likeness.variety(flat[:1].repeat(4, 0)) == pytest.approx(0, abs=0.1)


def test_closest_pair_is_found_whatever_its_brightness(photos: np.ndarray) -> None:
    images = photos[:20].copy()
    distance = likeness.closest_pair(images)[0]
    images[17] = images[4] * 0.6 + 20
    closer, *pair = likeness.closest_pair(images)
    assert pair == [4, 17]
    assert closer < 0.05 < 0.2 < distance


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_smooth_pictures_have_no_grid_pattern_and_planted_ones_are_told_apart_by_period(size: int) -> None:
    random = np.random.default_rng(0)
    small = random.integers(60, 200, (200, 6, 6, 3), np.uint8)
    bicubic = Image.Resampling.BICUBIC
    smooth = [np.asarray(Image.fromarray(image).resize((size, size), bicubic)) for image in small]
    images = add(np.array(smooth), random.normal(0, 8, (200, size, size, 3)))
    assert np.allclose(details.grid_pattern(images), 1, atol=0.25)
    row, column = np.indices((size, size))
    for place, period in enumerate((2, 4, 8)):
        checkers = (row // (period // 2) + column // (period // 2)) % 2 * 8 - 4
        planted = np.array(details.grid_pattern(add(images, checkers[:, :, None])))
        assert planted[place] > 3
        assert np.allclose(np.delete(planted, place), 1, atol=0.3)


def test_pyramid_adds_up_to_the_pictures(photos: np.ndarray) -> None:
    levels = details.laplacian_pyramid(photos[:3])
    assert [level.shape for level in levels] == [(3, size, size, 3) for size in (64, 32, 16)]
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        enlarged = np.zeros_like(level)
        enlarged[:, ::2, ::2] = 4 * whole
        whole = level + details.blur(enlarged)
    assert np.allclose(whole, photos[:3], atol=0.01)
    flat = details.laplacian_pyramid(np.full((1, 32, 32, 3), 77, np.uint8))
    assert np.allclose(flat[0], 0, atol=0.01), "what is even has no details, at the borders neither"
    assert np.allclose(flat[1], 77, atol=0.01)


def test_sliced_wasserstein_distance_of_shifted_points_is_their_shift() -> None:
    points = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    rounding = 1e-6  # of float32: BLAS may sum a projection in another order
    assert details.sliced_wasserstein(points, points[::-1]) == pytest.approx(0, abs=rounding)
    # A direction sees |cos| of the shift, whose mean over the sphere is one half.
    shifted = points + np.array([2, 0, 0])
    assert details.sliced_wasserstein(points, shifted, 4000) == pytest.approx(1, rel=0.03)


def test_blur_or_noise_drives_the_details_of_the_same_kind_of_picture_apart(photos: np.ndarray) -> None:
    one, theirs = photos[:65], details.details(photos[65:])
    noise = np.random.default_rng(0).normal(0, 20, one.shape)
    changed = (one, details.blur(one.astype(np.float32)), add(one, noise))
    same, smooth, noisy = (details.detail_distances(details.details(images), theirs) for images in changed)
    assert len(same) == 3
    assert smooth[0] > 2 * same[0]
    assert noisy[0] > 2 * same[0]
    assert noisy[2] < 2 * same[2], "noise averages out in what is small"


def test_nearest_photos_come_first_and_mirrored_ones_count(photos: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (2, 64, 64, 3))
    images = add(np.stack([photos[99], photos[42][:, ::-1]]), noise)
    near = likeness.find_neighbours(images, photos, 10)
    assert near.number[:, 0].tolist() == [99, 42]
    assert near.mirrored[:, 0].tolist() == [False, True]
    assert (near.distance[:, 0] < 0.2).all()
    assert (np.diff(near.distance) >= 0).all()
    assert near.distance.shape == near.number.shape == near.mirrored.shape == (2, 10)
    sheet = np.asarray(likeness.neighbour_sheet(images, photos, near))
    assert sheet.shape == (64, 8 * 64, 3)
    shown = [images[0], photos[99], images[1], photos[42][:, ::-1]]
    for cell, picture in zip((0, 1, 4, 5), shown, strict=True):
        assert np.array_equal(sheet[:, cell * 64 : (cell + 1) * 64], picture)


def test_neighbours_of_many_pictures_are_those_of_each(photos: np.ndarray) -> None:
    many = np.concatenate([photos, photos[::-1], photos])  # more than are compared at a time
    near = likeness.find_neighbours(many, photos, 2)
    assert np.array_equal(near.number[:, 0] % 130, [*range(130), *range(129, -1, -1), *range(130)])


def test_copies_are_told_from_new_pictures(photos: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 5, (30, 64, 64, 3))

    def ratios(images: np.ndarray) -> np.ndarray:
        return np.asarray(likeness.copy_ratio(likeness.find_neighbours(images, photos[:100], 50)))

    assert (ratios(add(photos[:30], noise)) < likeness.COPY).all()
    assert (ratios(photos[100:]) > likeness.COPY).mean() > 0.8
    tinted = np.full((2, 64, 64, 3), (128, 128, 127), np.uint8)
    assert (ratios(tinted) > 0.9).all(), "a young generator's gray is no copy"
    alike = likeness.find_neighbours(tinted, np.repeat(tinted, 50, 0), 50)
    assert (likeness.copy_ratio(alike) < likeness.COPY).all()


def passed(images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """In place of a progress bar."""
    return images


def test_photos_are_compared_with_others_and_not_with_themselves(photos: np.ndarray) -> None:
    compared = Photos(photos, 64)
    own = compared.measure_themselves(passed)
    assert own["lowest_ratio"] > 0, "a photo is no copy of itself"
    assert len(own["swd"]) == 3
    copies, near = compared.compare(photos[:64])
    assert copies["nearest"] == pytest.approx(0, abs=0.01)
    assert copies["copies"] == 1
    assert near.number[:, 0].tolist() == list(range(64))
    assert Photos(photos[:70], 64).measure_themselves(passed)["swd"] is None, "six others are too few"


def test_a_table_has_a_row_for_each_figure_and_a_column_for_each_set(photos: np.ndarray) -> None:
    compared = Photos(photos, 64)
    one = (
        measure(photos[:64], passed) | compared.compare(photos[:64])[0] | {"faces": 0.75, "faces_error": 0.01}
    )
    head, *rows = table({"one": one, "photos": compared.measure_themselves(passed) | {"faces": None}}, 64)
    assert head == ["", "one", "photos"]
    cells = {name: first for name, first, _ in rows}
    assert cells["faces found"] == "0.750 ± 0.010"
    assert cells["variety, in gray levels"] == f"{likeness.variety(photos[:64]):.1f}"
    assert cells["mean red, green, blue"] == ", ".join(
        f"{level:.0f}" for level in photos[:64].mean((0, 1, 2))
    )
    assert cells["swd (details) at 64, 32, 16 pixels"] == "{:.0f}, {:.0f}, {:.0f}".format(*one["swd"])
    assert rows[0][2] == "-"


def test_what_was_measured_of_nothing_has_no_row(photos: np.ndarray) -> None:
    names = [row[0] for row in table({"one": measure(photos[:64], passed)}, 64)]
    assert not [name for name in names if "photo" in name and "alike" not in name]
    assert not [name for name in names if "swd" in name]


@pytest.fixture
def opencv() -> object:
    return pytest.importorskip("cv2", reason="OpenCV is not installed: pip install -e '.[evaluate]'")


@pytest.mark.usefixtures("opencv")
def test_opencv_finds_the_faces_of_real_cats_and_none_in_noise(real_faces: Path) -> None:
    files = sorted(real_faces.iterdir())[:400:10]
    assert np.mean([*faces_found(Dataset(files, 128).images)]) > 0.7
    noise = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), np.uint8)
    assert [*faces_found(noise)] == [False] * 5


@pytest.fixture
def drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder of 70 drawn cats."""
    assert main(["draw", "--count=70", "--size=32", f"--out={tmp_path / 'cats'}"]) == 0
    capsys.readouterr()
    return tmp_path / "cats"


@pytest.fixture
def no_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)


@pytest.mark.parametrize("installed", [None, ModuleType("cv2")], ids=["none", "OpenCV 5: no detector"])
def test_without_opencv_4_a_warning_says_what_to_install_and_the_rest_is_measured(
    installed: ModuleType | None,
    drawn: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", installed)
    assert main(["evaluate", "--checkpoint", str(drawn), "--count=64"]) == 0
    out, err = capsys.readouterr()
    assert "warning: faces are not counted: that needs OpenCV 4: pip install -e '.[evaluate]'" in err
    assert "variety" in out
    assert "faces found" not in out


@pytest.mark.usefixtures("no_opencv")
def test_each_checkpoint_is_measured_once_beside_the_photos_and_shown(
    run: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "models" / "model.ckpt"
    files = [f"{checkpoint}.data-00000-of-00001", f"{checkpoint}.index"]
    sheet, near, written = (tmp_path / name for name in ("sheet.png", "near.png", "figures.json"))
    command = ["evaluate", "--checkpoint", *files, "--data", str(drawn), "--count=64", "--seed=3"]
    command += ["--sheet", str(sheet), "--neighbours", str(near), "--json", str(written)]
    assert main(command) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["", str(checkpoint), "photos"]
    assert len({len(row) for row in rows}) == 1, "aligned"
    found = json.loads(written.read_text())
    cats = sample(checkpoint, random_latents(64, 100, seed=3))
    assert found["figures"][str(checkpoint)]["variety"] == pytest.approx(likeness.variety(cats))
    assert (found["count"], found["seed"], found["size"], found["data"]) == (64, 3, 32, str(drawn))
    for file, column in ((sheet, 1), (near, 4)):
        pixels = np.asarray(Image.open(file))
        assert pixels.shape == (8 * 32, 8 * 32, 3)
        assert np.array_equal(pixels[:32, column * 32 : (column + 1) * 32], cats[1])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("--checkpoint a b --sheet=s.png", 2, "--sheet is a picture of one checkpoint"),
        ("--checkpoint a --neighbours=n.png", 2, "--neighbours needs --data"),
        ("--checkpoint a --data=d --neighbours=n.png --sheet=n.png", 2, "n.png cannot hold both"),
        ("--count=63", 2, "63 is below 64"),
        ("--json=figures.txt", 2, "does not end in .json"),
        ("--sheet=s.txt", 2, "no picture's name"),
        ("--checkpoint nowhere", 1, "no checkpoint nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_one_error(
    arguments: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: int | str | None
    try:
        ended = main(["evaluate", *arguments.split()])
    except SystemExit as error:
        ended = error.code
    assert ended == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", ["run", "run/models"])
def test_a_run_whose_model_is_missing_is_no_folder_of_pictures(
    path: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    for file in (tmp_path / "run" / "models").glob("model.ckpt.*"):
        file.unlink()
    assert main(["evaluate", "--checkpoint", str(tmp_path / path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"no checkpoint .*model\.ckpt: .*, found model\.ckpt-0, model\.ckpt-", line)


def test_few_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "--count=20", "--size=32", f"--out={tmp_path / 'few'}"]) == 0
    assert main(["evaluate", "--checkpoint", str(tmp_path / "few"), "--count=64"]) == 1
    assert "holds 20 pictures: figures need at least 64" in capsys.readouterr().err
