"""An animation must show every picture, in order, at its pace; and a fault leaves the old one whole."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import files, plain
from PIL import Image, ImageFilter, ImageSequence, PngImagePlugin

from catdcgan import image_grid, save_animation, save_image

SUFFIXES = [".gif", ".webp"]
COLOURS = [(250, 10, 20), (30, 240, 40), (50, 60, 230), (200, 200, 0)]


@pytest.fixture
def steps(tmp_path: Path) -> list[Path]:
    """Four pictures of different colours."""
    files = [tmp_path / "steps" / f"{number}.png" for number in range(len(COLOURS))]
    for file, colour in zip(files, COLOURS, strict=True):
        save_image(plain(colour), file)
    return files


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".GIF", ".WebP"])
def test_animation_holds_every_picture_in_order_at_its_pace_for_ever(
    suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "new" / f"cats{suffix}"
    save_animation(steps, target, milliseconds=250)
    assert list(files(target.parent)) == [target.name]
    if suffix.lower() == ".gif":
        assert target.read_bytes().endswith(b";")  # without this sign of the end, strict programs refuse it
    with Image.open(target) as animation:
        assert animation.format == suffix[1:].upper()
        assert getattr(animation, "n_frames", 1) == len(steps)
        assert animation.info["loop"] == 0
        seen, durations = [], []
        for frame in ImageSequence.Iterator(animation):
            seen.append(frame.convert("RGB").getpixel((8, 8)))
            durations.append(frame.info["duration"])
    assert np.abs(np.array(seen) - COLOURS).max() < 12
    assert durations == [250] * len(steps)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [2, 4])
def test_the_last_picture_stays_longer_if_asked_to(
    count: int, suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    save_animation(steps[:count], tmp_path / f"cats{suffix}", 100, last_milliseconds=2000)
    with Image.open(tmp_path / f"cats{suffix}") as animation:
        durations = [frame.copy().info["duration"] for frame in ImageSequence.Iterator(animation)]
    assert durations == [100] * (count - 1) + [2000]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_animation_takes_pictures_as_they_come(suffix: str, steps: list[Path], tmp_path: Path) -> None:
    files, target = tmp_path / f"files{suffix}", tmp_path / f"pictures{suffix}"
    save_animation(steps, files)
    pictures = [plain(colour) for colour in COLOURS]
    pictures[1].info["transparency"] = 0  # of no concern, and not to be lost
    save_animation((picture for picture in pictures), target)
    assert pictures[1].info == {"transparency": 0}
    assert pictures[1].getpixel((0, 0)) == COLOURS[1]
    with pytest.raises(ValueError, match=r"picture 1 has 16 x 8 pixels, and picture 0 has 16 x 16"):
        save_animation(iter([plain(COLOURS[0]), plain(COLOURS[0], (16, 8))]), target)
    assert target.read_bytes() == files.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_animation_looks_like_its_pictures(suffix: str, mode: str, cats: np.ndarray, tmp_path: Path) -> None:
    grids = [image_grid(cats[start : start + 12], mode) for start in (0, 12, 24)]  # 128 x 96, not square
    save_animation(grids, tmp_path / f"cats{suffix}")

    def as_the_eye_sees(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.convert("RGB").filter(ImageFilter.GaussianBlur(2)), float)

    with Image.open(tmp_path / f"cats{suffix}") as animation:
        for frame, grid in zip(ImageSequence.Iterator(animation), grids, strict=True):
            assert frame.size == (128, 96)
            off = np.abs(as_the_eye_sees(frame) - as_the_eye_sees(grid)).mean()
            assert off < {".gif": 0.7, ".webp": 2}[suffix]  # a GIF that is not dithered is off by 0.9
            if (suffix, mode) == (".gif", "L"):
                assert np.array_equal(np.asarray(frame.convert("L")), np.asarray(grid))  # it has all grays


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_animation_of_one_picture_and_one_as_small_as_can_be_is_possible(suffix: str, tmp_path: Path) -> None:
    save_image(plain(COLOURS[0], (1, 3)), tmp_path / "small.png")
    save_animation([str(tmp_path / "small.png")], str(tmp_path / f"one{suffix}"))
    with Image.open(tmp_path / f"one{suffix}") as animation:
        assert animation.size == (1, 3)
        assert np.abs(np.array(animation.convert("RGB").getpixel((0, 2))) - COLOURS[0]).max() < 12


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_animation_takes_of_other_programs_pictures_the_pixels_alone(suffix: str, tmp_path: Path) -> None:
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = "a cat"
    text.add_text("Comment", "a cat")
    more: dict[str, Any] = {"icc_profile": b"a profile", "exif": exif, "pnginfo": text, "dpi": (72, 72)}
    gray = plain(COLOURS[1]).convert("L")
    colours = np.array([COLOURS[0], [gray.getpixel((0, 0))] * 3, COLOURS[2], COLOURS[3]])
    files = [tmp_path / name for name in ("0.png", "1.png", "2.gif", "3.webp")]
    plain(COLOURS[0]).save(files[0], transparency=COLOURS[0], **more)
    gray.save(files[1], transparency=gray.getpixel((0, 0)), **more)
    plain(COLOURS[2]).quantize().save(files[2], comment=b"a cat", transparency=0, duration=999)
    plain(COLOURS[3]).convert("RGBA").save(files[3], lossless=True)
    target = tmp_path / f"cats{suffix}"
    save_animation(files, target, 70)
    with Image.open(target) as animation:
        frames = list(ImageSequence.all_frames(animation))
    assert [frame.mode for frame in frames[1:]] == ["RGB"] * 3  # opaque
    assert np.abs([frame.convert("RGB").getpixel((8, 8)) for frame in frames] - colours).max() < 12
    assert [frame.info["duration"] for frame in frames] == [70] * 4
    assert not re.search(b"a cat|a profile", target.read_bytes())


MEMORY = r"""
import re, sys
from pathlib import Path
from catdcgan.animation import save_animation

def peak(count):  # bytes; of this program alone, where resource.getrusage adds the one that started it
    save_animation(sys.argv[2:] * (count // 2), sys.argv[1])
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

few = peak(10)
print(peak(130) - few)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of memory")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_animation_of_many_pictures_takes_no_more_memory_than_one_of_few(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for pixels, file in zip(noise, files, strict=True):
        save_image(Image.fromarray(pixels), file)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / f"cats{suffix}"), *map(str, files)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with Image.open(tmp_path / f"cats{suffix}") as animation:
        assert getattr(animation, "n_frames", 1) == 130
    assert grown < 20 * noise[0].nbytes, "as much as 20 of the pictures, or more, of 120"


FAULTS: dict[str, Callable[[Path], object]] = {
    r"2\.png has 16 x 8 pixels, and .*0\.png has 16 x 16: .* same size": lambda file: save_image(
        plain(COLOURS[2], (16, 8)), file
    ),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:60]),
    r"No such file .*2\.png": Path.unlink,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("message", FAULTS)
def test_picture_that_does_not_fit_or_cannot_be_read_leaves_the_old_animation_and_no_partial_file(
    message: str, suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / f"cats{suffix}"
    save_animation(steps, target)
    FAULTS[message](steps[2])
    before = files(tmp_path)
    with pytest.raises((ValueError, OSError), match=message):
        save_animation(steps, target)
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["cats.mp4", "cats.png", "cats"])
def test_animation_with_an_ending_that_cannot_move_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .*must end in \.gif or \.webp"):
        save_animation([plain(COLOURS[0])], tmp_path / name)
    assert not files(tmp_path)
