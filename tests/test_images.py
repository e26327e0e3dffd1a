"""Pictures must show what the generator drew: true colours, the right order, whole files."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import same_color
from pictures import files, plain
from PIL import Image

from catdcgan import image_grid, plot_losses, save_animation, save_image, training_strip
from catdcgan.data.dataset import scale_pixels
from catdcgan.errors import InputError
from catdcgan.images import grid_cells, show_image, to_pixels

COLOURS = [(250, 10, 20), (30, 240, 40), (50, 60, 230), (200, 200, 0)]


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
    assert (seen.tolist(), seen.dtype.name) == (pixels, "uint8")
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
    ("count", "moments"), [(1, [0]), (2, [0, 1]), (8, [0, 1, 2, 3, 5, 7]), (20, [0, 1, 3, 5, 7, 12, 19])]
)
def test_strip_has_a_row_for_each_latent_and_ever_rarer_moments_from_first_to_last(
    count: int, moments: list[int], mode: str, tmp_path: Path
) -> None:
    strip = training_strip(sample_grids(tmp_path, count, mode), size=20, rows=3)
    side = 7 * 20  # enlarged, so that there is room for the steps
    title = strip.height - 3 * side
    assert (strip.mode, strip.width) == ("RGB", side * len(moments))
    pictures = grid_cells(strip.crop((0, title, strip.width, strip.height)), side)
    assert (pictures == pictures[:, :1, :1]).all(), "each picture is whole, and in its place"
    grays = pictures[:, 0, 0].reshape(3, len(moments), 3)
    assert grays[..., 0].tolist() == [[10 * grid + picture for grid in moments] for picture in range(3)]


def test_strip_says_the_step_above_each_column(tmp_path: Path) -> None:
    strips = [np.asarray(training_strip(sample_grids(tmp_path, n), 20, rows=1)) for n in (2, 3)]
    titles = [strip[:-140].reshape(-1, strip.shape[1] // 140, 140, 3) for strip in strips]
    assert titles[0].shape[0] == 25, "large enough to be read"
    assert all((title.min((0, 2, 3)) < 250).all() for title in titles), "there is text above each"
    assert np.array_equal(titles[0][:, :1], titles[1][:, :1]), "step 0 is step 0"
    assert not np.array_equal(titles[0][:, 1], titles[1][:, 2]), "step 50 is not step 100"


# --- files -------------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(20)
@pytest.mark.tutorial_bug(27)
def test_png_keeps_every_pixel_and_its_folders_are_made(cats: np.ndarray, tmp_path: Path) -> None:
    file = tmp_path / "not" / "yet" / "there" / "cats.png"
    save_image(image_grid(cats[:4]), file)
    assert list(files(file.parent)) == ["cats.png"]  # and nothing temporary beside it
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
    assert not files(tmp_path)


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
    assert files(tmp_path) == {"cat.png": before}


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
    assert list(files(tmp_path)) == [name]


def test_strip_and_animation_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one sample grid"):
        training_strip([], 20)
    with pytest.raises(ValueError, match="at least one picture"):
        save_animation(iter([]), tmp_path / "new" / "cats.gif")
    assert not files(tmp_path)


# --- the screen --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("in_notebook", [True, False])
def test_picture_is_shown_below_the_cell_in_a_notebook_and_elsewhere_in_the_systems_viewer(
    in_notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    below, viewer = list[Image.Image](), list[Image.Image]()
    picture = plain(COLOURS[0])
    ipython = types.ModuleType("IPython.display")
    ipython.display = lambda picture, metadata: below.append(picture)  # type: ignore[attr-defined]
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
        assert np.array(level.get_ydata()) == pytest.approx([equilibrium] * 2)
        assert same_color(level.get_color(), colour), "which loss is the line for?"
        assert np.array(labels[name].get_xdata())[-1] == count  # steps count from 1
        in_colour = [line for line in axes.lines if same_color(line.get_color(), colour)]
        drawn = [ys for ys in (np.array(line.get_ydata()) for line in in_colour) if len(ys) == count]
        assert any(ys == pytest.approx(values) for ys in drawn), f"the {name}'s own losses are not drawn"
    assert axes.get_ylim()[0] == 0
    legend = axes.get_legend()
    assert legend
    shown = {text.get_text() for text in legend.get_texts()}
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
