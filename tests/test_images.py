"""Pictures must show what the generator drew: true colours, the right order, whole files."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image, ImageFilter, ImageSequence, PngImagePlugin

from catdcgan import image_grid, plot_losses, save_animation, save_image, training_strip
from catdcgan.data.dataset import scale_pixels
from catdcgan.errors import InputError
from catdcgan.images import grid_cells, show_image, to_pixels

SUFFIXES = [".gif", ".webp"]
COLOURS = [(250, 10, 20), (30, 240, 40), (50, 60, 230), (200, 200, 0)]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, colour)


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# --- pixels ------------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(11)
@pytest.mark.parametrize(
    ("values", "pixel_range", "pixels"),
    [
        pytest.param([-0.1, 0.0, 0.1], 1, [115, 128, 140], id="a narrow range stays one"),
        pytest.param([-1.0, 0.0, 1.0], 1, [0, 128, 255], id="the whole range"),
        pytest.param([0.5, 0.5], 1, [191, 191], id="one gray: a division by its range of 0 would warn"),
        pytest.param([-5.0, -1.001, 1.001, 5.0], 1, [0, 0, 255, 255], id="clipped, not wrapped around"),
        pytest.param([-0.5, -0.25, 0.25, 0.5, 0.7], 0.5, [0, 64, 191, 255, 255], id="the author's range"),
    ],
)
def test_same_value_is_the_same_colour_in_every_picture(
    values: list[float], pixel_range: float, pixels: list[int]
) -> None:
    images = np.array(values)
    seen = to_pixels(images, pixel_range)
    assert (seen.tolist(), seen.dtype) == (pixels, np.uint8)
    assert images.tolist() == values  # what is handed in stays


@pytest.mark.tutorial_bug(10)
def test_pixels_of_a_batch_are_the_pixels_of_the_file() -> None:
    every_gray = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_pixels(scale_pixels(every_gray)), every_gray)


# --- grids -------------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(12)
@pytest.mark.parametrize(
    ("mode", "channels"), [("RGB", 3), pytest.param("L", 1, marks=pytest.mark.tutorial_bug(14))]
)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
def test_grid_runs_left_to_right_then_down_with_height_and_width_in_place(
    count: int, mode: str, channels: int
) -> None:
    height, width, columns = 5, 9, 3
    images = np.random.default_rng(0).integers(1, 256, (count, height, width, channels), np.uint8)
    grid = image_grid(images, mode, columns)
    rows = math.ceil(count / columns)
    assert (grid.mode, grid.size) == (mode, (columns * width, rows * height))
    pixels = np.asarray(grid).reshape(grid.height, grid.width, channels)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        cell = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
        expected = images[number] if number < count else np.zeros_like(images[0])
        assert np.array_equal(cell, expected), f"image {number} is not in row {row}, column {column}"


@pytest.mark.tutorial_bug(12)
@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (9, 3, 3), (10, 4, 3), (64, 8, 8)]
)
def test_grid_is_as_near_to_a_square_as_it_gets(count: int, columns: int, rows: int) -> None:
    grid = image_grid(np.full((count, 4, 4, 3), 9, np.uint8))
    assert grid.size == (columns * 4, rows * 4)
    assert int((np.asarray(grid) == 9).all(-1).sum()) == count * 16  # every image is there, the rest is black


@pytest.mark.parametrize(("channels", "mode"), [(1, "RGB"), (3, "L")])
def test_grid_has_the_mode_asked_for_whatever_the_images_have(channels: int, mode: str) -> None:
    grid = image_grid(np.full((4, 4, 4, channels), 77, np.uint8), mode)
    assert grid.mode == mode
    assert (np.asarray(grid) == 77).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_is_cut_into_the_images_that_it_was_made_of(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 5, channels), np.uint8)
    grid = image_grid(images, "RGB" if channels == 3 else "L", columns=2)
    assert np.array_equal(grid_cells(grid, 5), images)


# --- the strip of a training -------------------------------------------------------------------------------
def sample_grids(folder: Path, count: int, mode: str = "RGB") -> list[Path]:
    """Grids of four pictures of 20 px; the gray of picture p of grid g is 10 * g + p."""
    files = []
    for number in range(count):
        grays = np.arange(4, dtype=np.uint8)[:, None, None, None] + 10 * number
        files.append(folder / f"step_{50 * number:07d}.png")
        save_image(image_grid(np.broadcast_to(grays, (4, 20, 20, 3)), mode), files[-1])
    return files


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("count", "moments"),
    [(1, [0]), (2, [0, 1]), (8, [0, 1, 2, 3, 5, 7]), (20, [0, 1, 3, 5, 7, 12, 19])],
)
def test_strip_has_a_row_for_each_latent_and_ever_rarer_moments_from_first_to_last(
    count: int, moments: list[int], mode: str, tmp_path: Path
) -> None:
    strip = training_strip(sample_grids(tmp_path, count, mode), size=20, rows=3)
    title = strip.height - 60
    assert (strip.mode, strip.width) == ("RGB", 20 * len(moments))
    pictures = grid_cells(strip.crop((0, title, strip.width, strip.height)), 20)
    assert (pictures == pictures[:, :1, :1]).all(), "each picture is whole, and in its place"
    grays = pictures[:, 0, 0].reshape(3, len(moments), 3)
    assert grays[..., 0].tolist() == [[10 * grid + picture for grid in moments] for picture in range(3)]


def test_strip_says_the_step_above_each_column(tmp_path: Path) -> None:
    strips = [np.asarray(training_strip(sample_grids(tmp_path, n), 20, rows=1)) for n in (2, 3)]
    titles = [strip[:-20].reshape(-1, strip.shape[1] // 20, 20, 3) for strip in strips]
    assert all((title.min((0, 2, 3)) < 250).all() for title in titles), "there is text above each"
    assert np.array_equal(titles[0][:, :1], titles[1][:, :1]), "step 0 is step 0"
    assert not np.array_equal(titles[0][:, 1], titles[1][:, 2]), "step 50 is not step 100"


# --- files -------------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(20)
@pytest.mark.tutorial_bug(27)
def test_png_keeps_every_pixel_and_its_folders_are_made(cats: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "not" / "yet" / "there" / "cats.png"
    save_image(image_grid(cats[:4]), file)
    assert files_in(file.parent) == ["cats.png"]  # and nothing temporary beside it
    with Image.open(file) as opened:
        assert opened.format == "PNG"
        assert np.array_equal(np.asarray(opened), np.asarray(image_grid(cats[:4])))


@pytest.mark.tutorial_bug(27)
@pytest.mark.parametrize("name", ["cats.jpg", "cats.jpeg", "CATS.JPG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_name_that_ends_in_jpg_makes_a_jpeg(name: str, mode: str, cats: np.ndarray, tmp_path: Path) -> None:
    grid = image_grid(cats[:4], mode)
    save_image(grid, str(tmp_path / name))
    with Image.open(tmp_path / name) as opened:
        assert opened.format == "JPEG"
        assert opened.mode == mode
        assert np.abs(np.asarray(opened).astype(int) - np.asarray(grid)).mean() < 6


def test_unknown_ending_is_refused_and_leaves_no_partial_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        save_image(plain(COLOURS[0]), tmp_path / "cat.xyz")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"])
def test_failed_write_leaves_the_old_picture_and_no_partial_file(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(plain(COLOURS[0]), tmp_path / "cat.png")
    before = (tmp_path / "cat.png").read_bytes()

    def write_half(_: Image.Image, file: Path, **__: object) -> None:
        Path(file).write_bytes(before[:20])
        raise error

    monkeypatch.setattr(Image.Image, "save", write_half)
    with pytest.raises(type(error)):
        save_image(plain(COLOURS[1]), tmp_path / "cat.png")
    assert files_in(tmp_path) == ["cat.png"]
    assert (tmp_path / "cat.png").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "longest"), [("a.jpg", 65_500), ("a.jpeg", 65_500), ("a.webp", 16_383), ("a.GIF", 65_535)]
)
def test_picture_is_as_large_as_its_format_holds_at_most(name: str, longest: int, tmp_path: Path) -> None:
    fits, large = plain(COLOURS[0], (longest, 1)), plain(COLOURS[0], (1, longest + 1))
    save_image(fits, tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: 1 x {longest + 1} pixels are too many for"):
        save_image(large, tmp_path / name)
    if not name.startswith("a.jp"):
        save_animation([fits], tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: 1 x {longest + 1} pixels are too many for"):
            save_animation([large], tmp_path / name)
    assert files_in(tmp_path) == [name]


# --- animations --------------------------------------------------------------------------------------------
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
    assert files_in(target.parent) == [target.name]
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
    more = {"icc_profile": b"a profile", "exif": exif, "pnginfo": text, "dpi": (72, 72)}
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
    command = [sys.executable, "-c", MEMORY, tmp_path / f"cats{suffix}", *files]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with Image.open(tmp_path / f"cats{suffix}") as animation:
        assert getattr(animation, "n_frames", 1) == 130
    assert grown < 20 * noise[0].nbytes, "as much as 20 of the pictures, or more, of 120"


FAULTS: dict[str, Callable[[Path], object]] = {
    r"2\.png has 16 x 8 pixels, and .*0\.png has 16 x 16: .* one size": lambda file: save_image(
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
    before = target.read_bytes()
    FAULTS[message](steps[2])
    with pytest.raises((ValueError, OSError), match=message):
        save_animation(steps, target)
    assert files_in(tmp_path) == [target.name, "steps"]
    assert target.read_bytes() == before


@pytest.mark.parametrize("name", ["cats.mp4", "cats.png", "cats"])
def test_animation_with_an_ending_that_cannot_move_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .*ends in \.gif or \.webp"):
        save_animation([plain(COLOURS[0])], tmp_path / name)
    assert files_in(tmp_path) == []


def test_strip_and_animation_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one sample grid"):
        training_strip([], 20)
    with pytest.raises(ValueError, match="at least one picture"):
        save_animation(iter([]), tmp_path / "new" / "cats.gif")
    assert files_in(tmp_path) == []


# --- the screen --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("in_notebook", [True, False])
def test_picture_is_shown_below_the_cell_in_a_notebook_and_elsewhere_in_the_systems_viewer(
    in_notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, viewer, picture = [], [], plain(COLOURS[0])
    ipython = types.ModuleType("IPython.display")
    ipython.display = below.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    if not in_notebook:
        monkeypatch.delitem(sys.modules, "ipykernel")
    monkeypatch.setattr(Image.Image, "show", lambda picture: viewer.append(picture))
    show_image(picture)
    assert (below, viewer) == (([picture], []) if in_notebook else ([], [picture]))


# --- losses ------------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(23)
@pytest.mark.parametrize("count", [1, 2, 49, 50, 1200])
def test_loss_plot_draws_both_losses_and_where_neither_side_wins(count: int, tmp_path: Path) -> None:
    losses = [(1.5 + 0.1 * math.sin(step), 0.8 + 0.1 * math.cos(step)) for step in range(count)]
    figure = plot_losses(losses)
    (axes,) = figure.axes
    labels = {line.get_label(): line for line in axes.lines}
    equilibria = {"discriminator": 2 * math.log(2), "generator": math.log(2)}
    for (name, equilibrium), values in zip(equilibria.items(), zip(*losses, strict=True), strict=True):
        level, colour = labels[f"{name} at equilibrium"], labels[name].get_color()
        assert list(level.get_ydata()) == pytest.approx([equilibrium] * 2)
        assert same_color(level.get_color(), colour), "which loss is the line for?"
        assert labels[name].get_xdata()[-1] == count  # steps count from 1
        in_colour = [list(line.get_ydata()) for line in axes.lines if same_color(line.get_color(), colour)]
        drawn = [ys for ys in in_colour if len(ys) == count]
        assert any(ys == pytest.approx(values) for ys in drawn), f"the {name}'s own losses are not drawn"
    assert axes.get_ylim()[0] == 0
    shown = {text.get_text() for text in axes.get_legend().get_texts()}
    assert shown == {*equilibria, *(f"{name} at equilibrium" for name in equilibria)}
    figure.savefig(tmp_path / "losses.png")  # drawing warns, so fails, where something does not fit


@pytest.mark.tutorial_bug(23)
def test_smoothed_losses_keep_the_level_of_a_constant_loss() -> None:
    (axes,) = plot_losses([(1.3, 0.7)] * 500).axes
    smooth = {line.get_label(): line for line in axes.lines}
    assert smooth["discriminator"].get_ydata() == pytest.approx(1.3)
    assert smooth["generator"].get_ydata() == pytest.approx(0.7)


def test_loss_plot_does_not_touch_the_figures_of_the_user() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plot_losses(iter([(1.0, 1.0)] * 3))
    assert pyplot.get_fignums() == before
