"""Pictures must show what the generator drew: true colours, the right order, whole files."""

from __future__ import annotations

import math
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image, ImageFilter, ImageSequence, PngImagePlugin

from catdcgan import image_grid, plot_losses, save_animation, save_image, training_strip
from catdcgan.data.dataset import scale_pixels
from catdcgan.errors import InputError
from catdcgan.images import grid_cells, show_image, to_pixels

COLOURS = [(250, 10, 20), (30, 240, 40), (50, 60, 230), (200, 200, 0)]


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, colour)


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# --- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(11)
def test_same_value_is_the_same_colour_in_every_picture() -> None:
    narrow, wide = np.array([-0.1, 0.0, 0.1]), np.array([-1.0, 0.0, 1.0])
    assert to_pixels(narrow).tolist() == [115, 128, 140]
    assert to_pixels(wide).tolist() == [0, 128, 255]


@pytest.mark.tutorial_bug(11)
@pytest.mark.parametrize(("value", "pixel"), [(-1.0, 0), (0.0, 128), (0.5, 191), (1.0, 255)])
def test_constant_image_keeps_its_gray_and_divides_by_nothing(value: float, pixel: int) -> None:
    pixels = to_pixels(np.full((1, 4, 4, 3), value, np.float32))  # a division by zero would warn, so fail
    assert pixels.dtype == np.uint8
    assert (pixels == pixel).all()


@pytest.mark.tutorial_bug(11)
def test_values_outside_the_range_are_clipped_and_do_not_wrap_around() -> None:
    assert to_pixels(np.array([-5.0, -1.001, 1.001, 5.0])).tolist() == [0, 0, 255, 255]


@pytest.mark.tutorial_bug(10)
def test_pixels_of_a_batch_are_the_pixels_of_the_file() -> None:
    every_gray = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_pixels(scale_pixels(every_gray)), every_gray)


@pytest.mark.tutorial_bug(10)
def test_range_of_the_articles_author_spans_all_grays_too() -> None:
    values = np.array([-0.5, -0.25, 0.0, 0.25, 0.5, 0.7])
    assert to_pixels(values, pixel_range=0.5).tolist() == [0, 64, 128, 191, 255, 255]


def test_images_handed_in_are_not_changed() -> None:
    images = np.array([-2.0, 0.3])
    to_pixels(images, 0.5)
    assert images.tolist() == [-2.0, 0.3]


# --- grids -------------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(12)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
def test_grid_runs_left_to_right_then_down_with_height_and_width_in_place(count: int) -> None:
    height, width, columns = 5, 9, 3
    images = np.random.default_rng(0).integers(1, 256, (count, height, width, 3), np.uint8)
    grid = np.asarray(image_grid(images, columns=columns))
    rows = math.ceil(count / columns)
    assert grid.shape == (rows * height, columns * width, 3)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        cell = grid[row * height : (row + 1) * height, column * width : (column + 1) * width]
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


@pytest.mark.tutorial_bug(14)
def test_grayscale_grid_is_a_gray_picture_in_the_same_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1), np.uint8)
    grid = image_grid(images, "L", columns=2)
    assert grid.mode == "L"
    assert grid.size == (12, 8)
    assert np.array_equal(np.asarray(grid)[:4, 6:], images[1, :, :, 0])
    assert np.array_equal(np.asarray(grid)[4:, :6], images[2, :, :, 0])


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


def test_strip_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample grid"):
        training_strip([], 20)


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(27)
def test_png_keeps_every_pixel(cats: np.ndarray, tmp_path: Path) -> None:
    grid = image_grid(cats[:4])
    save_image(grid, tmp_path / "cats.png")
    with Image.open(tmp_path / "cats.png") as opened:
        assert opened.format == "PNG"
        assert np.array_equal(np.asarray(opened), np.asarray(grid))


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


@pytest.mark.tutorial_bug(20)
def test_folders_of_a_picture_are_made(tmp_path: Path) -> None:
    save_image(plain(COLOURS[0]), tmp_path / "not" / "yet" / "there" / "cat.png")
    assert files_in(tmp_path / "not" / "yet" / "there") == ["cat.png"]  # and nothing temporary beside it


def test_relative_name_without_a_folder_is_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_image(plain(COLOURS[0]), "cat.png")
    assert files_in(tmp_path) == ["cat.png"]


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
def test_picture_is_as_large_as_its_format_holds_and_no_larger(
    name: str, longest: int, tmp_path: Path
) -> None:
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


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".GIF", ".WebP"])
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


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_takes_pictures_in_memory_as_they_come(
    suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    save_animation(steps, tmp_path / f"files{suffix}")
    pictures = [plain(colour) for colour in COLOURS]
    pictures[1].info["transparency"] = 0  # of no concern, and not to be lost
    save_animation((picture for picture in pictures), tmp_path / f"pictures{suffix}")
    assert (tmp_path / f"pictures{suffix}").read_bytes() == (tmp_path / f"files{suffix}").read_bytes()
    assert pictures[1].info == {"transparency": 0}
    assert pictures[1].getpixel((0, 0)) == COLOURS[1]
    wrong = iter([plain(COLOURS[0]), plain(COLOURS[0], (16, 8))])
    with pytest.raises(ValueError, match=r"picture 1 has 16 x 8 pixels, and picture 0 has 16 x 16"):
        save_animation(wrong, tmp_path / f"wrong{suffix}")
    assert not (tmp_path / f"wrong{suffix}").exists()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_animation_looks_like_its_pictures(suffix: str, mode: str, cats: np.ndarray, tmp_path: Path) -> None:
    grids = [image_grid(cats[start : start + 12], mode) for start in (0, 12, 24)]  # 128 x 96, not square
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for grid, file in zip(grids, files, strict=True):
        save_image(grid, file)
    save_animation(files, tmp_path / f"cats{suffix}")

    def as_the_eye_sees(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture.convert("RGB").filter(ImageFilter.GaussianBlur(2)), float)

    with Image.open(tmp_path / f"cats{suffix}") as animation:
        for frame, grid in zip(ImageSequence.Iterator(animation), grids, strict=True):
            assert frame.size == (128, 96)
            off = np.abs(as_the_eye_sees(frame) - as_the_eye_sees(grid)).mean()
            assert off < {".gif": 0.7, ".webp": 2}[suffix]  # a GIF that is not dithered is off by 0.9
            if (suffix, mode) == (".gif", "L"):
                assert np.array_equal(np.asarray(frame.convert("L")), np.asarray(grid))  # it has all grays


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_of_one_picture_and_one_as_small_as_can_be_is_possible(suffix: str, tmp_path: Path) -> None:
    save_image(plain(COLOURS[0], (1, 3)), tmp_path / "small.png")
    save_animation([str(tmp_path / "small.png")], str(tmp_path / f"one{suffix}"))
    with Image.open(tmp_path / f"one{suffix}") as animation:
        assert animation.size == (1, 3)
        assert np.abs(np.array(animation.convert("RGB").getpixel((0, 2))) - COLOURS[0]).max() < 12


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_takes_pictures_of_other_programs_for_their_pixels_alone(
    suffix: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "a cat")
    more = {"icc_profile": b"a profile", "exif": exif, "pnginfo": text, "dpi": (72, 72)}
    plain(COLOURS[0]).save(tmp_path / "0.png", transparency=COLOURS[0], **more)
    gray = plain(COLOURS[1]).convert("L")
    gray.save(tmp_path / "1.png", transparency=gray.getpixel((0, 0)), **more)
    plain(COLOURS[2]).quantize().save(tmp_path / "2.gif", comment=b"a cat", transparency=0, duration=999)
    plain(COLOURS[3]).convert("RGBA").save(tmp_path / "3.webp", lossless=True)
    target = tmp_path / f"cats{suffix}"
    save_animation([tmp_path / name for name in ("0.png", "1.png", "2.gif", "3.webp")], target, 70)
    with Image.open(target) as animation:
        frames = list(ImageSequence.all_frames(animation))
    assert [frame.mode for frame in frames[1:]] == ["RGB"] * 3  # opaque
    seen = [frame.convert("RGB").getpixel((8, 8)) for frame in frames]
    assert (
        np.abs(np.array(seen) - [COLOURS[0], [gray.getpixel((0, 0))] * 3, COLOURS[2], COLOURS[3]]).max() < 12
    )
    assert [frame.info["duration"] for frame in frames] == [70] * 4
    assert b"a cat" not in target.read_bytes()
    assert b"a profile" not in target.read_bytes()


MEMORY = r"""
import re, sys
from pathlib import Path
from catdcgan.images import save_animation

def peak(count):  # bytes; of this program alone, where resource.getrusage adds the one that started it
    save_animation(sys.argv[2:] * (count // 2), sys.argv[1])
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

few = peak(10)
print(peak(130) - few)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of memory")
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_of_many_pictures_takes_no_more_memory_than_one_of_few(suffix: str, tmp_path: Path) -> None:
    side = 256
    files = [tmp_path / f"{number}.png" for number in range(2)]
    for number, file in enumerate(files):
        noise = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        save_image(Image.fromarray(noise), file)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / f"cats{suffix}"), *map(str, files)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    with Image.open(tmp_path / f"cats{suffix}") as animation:
        assert getattr(animation, "n_frames", 1) == 130
    assert grown < 20 * side * side * 3, "as much as 20 of the pictures, or more, of 120"


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_picture_of_another_size_is_named_and_leaves_the_old_animation(
    suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / f"cats{suffix}"
    save_animation(steps, target)
    before = target.read_bytes()
    save_image(plain(COLOURS[2], (16, 8)), steps[2])
    with pytest.raises(ValueError, match=r"2\.png has 16 x 8 pixels, and .*0\.png has 16 x 16: .* one size"):
        save_animation(steps, target)
    assert files_in(tmp_path) == [target.name, "steps"]
    assert target.read_bytes() == before


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_damaged_picture_leaves_no_animation(suffix: str, steps: list[Path], tmp_path: Path) -> None:
    steps[2].write_bytes(steps[2].read_bytes()[:60])
    with pytest.raises(OSError, match="truncated"):
        save_animation(steps, tmp_path / f"cats{suffix}")
    assert files_in(tmp_path) == ["steps"]


def test_animation_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        save_animation(iter([]), tmp_path / "new" / "cats.gif")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["cats.mp4", "cats.png", "cats"])
def test_animation_with_an_ending_that_cannot_move_is_refused(
    name: str, steps: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"ends in \.gif or \.webp") as caught:
        save_animation(steps, tmp_path / name)
    assert name in str(caught.value)
    assert files_in(tmp_path) == ["steps"]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_missing_picture_leaves_the_old_animation_and_no_partial_file(
    suffix: str, steps: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / f"cats{suffix}"
    save_animation(steps, target)
    before = target.read_bytes()
    steps[2].unlink()
    with pytest.raises(OSError, match=r"2\.png"):
        save_animation(steps, target)
    assert files_in(tmp_path) == [target.name, "steps"]
    assert target.read_bytes() == before


# --- the screen --------------------------------------------------------------------------------------------


def test_picture_is_shown_below_the_cell_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    ipython = types.ModuleType("IPython.display")
    monkeypatch.setattr(ipython, "display", shown.append, raising=False)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(Image.Image, "show", lambda _: pytest.fail("opened a window on the server"))
    picture = plain(COLOURS[0])
    show_image(picture)
    assert shown == [picture]


def test_picture_is_shown_in_the_systems_viewer_outside_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture))
    picture = plain(COLOURS[0])
    show_image(picture)
    assert shown == [picture]


# --- losses ------------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(23)
@pytest.mark.parametrize("count", [1, 2, 49, 50, 1200])
def test_loss_plot_draws_both_losses_and_where_neither_side_wins(count: int, tmp_path: Path) -> None:
    losses = [(1.5 + 0.1 * math.sin(step), 0.8 + 0.1 * math.cos(step)) for step in range(count)]
    figure = plot_losses(losses)
    (axes,) = figure.axes
    labels = {line.get_label(): line for line in axes.lines}
    for name, equilibrium in (("discriminator", 2 * math.log(2)), ("generator", math.log(2))):
        level = labels[f"{name} at equilibrium"]
        assert list(level.get_ydata()) == pytest.approx([equilibrium] * 2)
        assert same_color(level.get_color(), labels[name].get_color()), "which loss is the line for?"
        assert labels[name].get_xdata()[-1] == count  # steps count from 1
    for name, values in zip(("discriminator", "generator"), zip(*losses, strict=True), strict=True):
        in_colour = [line for line in axes.lines if same_color(line.get_color(), labels[name].get_color())]
        drawn = [list(line.get_ydata()) for line in in_colour if len(line.get_ydata()) == count]
        assert any(ys == pytest.approx(values) for ys in drawn), f"the {name}'s own losses are not drawn"
    assert axes.get_ylim()[0] == 0
    shown = {text.get_text() for text in axes.get_legend().get_texts()}
    assert shown == {
        "discriminator",
        "generator",
        "discriminator at equilibrium",
        "generator at equilibrium",
    }
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
