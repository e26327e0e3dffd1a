"""Any folder of pictures must become the same square uint8 images and honest batches, or say why not."""

from __future__ import annotations

import itertools
import shutil
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from catdcgan import DataError, Dataset
from catdcgan.data import dataset as data
from catdcgan.data.dataset import find_images, prefetch, scale_pixels
from catdcgan.data.photos import IMAGE_SUFFIXES, load_image
from catdcgan.run.schedule import steps_per_epoch

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def plain(colour: tuple[int, ...] = RED, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def save(image: Image.Image, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    return file


def numbered_images(count: int) -> np.ndarray:
    """Images that tell their own number: all pixels of image i are i."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 3)).copy()


def epoch_order(dataset: Dataset, batch_size: int = 4, epoch: int | None = None) -> list[int]:
    """The numbers of the images in an epoch, in the order of its batches."""
    batches = list(dataset.get_batches(batch_size, epoch))
    return [round(float(value)) for batch in batches for value in (batch[:, 0, 0, 0] + 1) * 127.5]


# --- finding files -----------------------------------------------------------------------------------------


def test_images_in_subfolders_and_with_capital_endings_are_found_in_sorted_order(tmp_path: Path) -> None:
    names = ["z.JPG", "b/deep/er/x.PnG", "b/a.jpeg", "a.webp", "B.bmp", "c.GIF"]
    for name in names:
        save(plain(), tmp_path / name)
    for name in ("notes.txt", "a.jpg.cat", "jpg", "movie.mp4"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    assert list(find_images(tmp_path).files) == sorted(tmp_path / name for name in names)


def test_images_come_in_the_order_of_their_paths_whatever_order_the_disk_gives(tmp_path: Path) -> None:
    grays = {"c.png": 30, "a.png": 10, "b/b.png": 20, "d.png": 40}
    for name, gray in grays.items():
        save(plain((gray,) * 3), tmp_path / name)
    assert Dataset(tmp_path, 32).images[:, 0, 0, 0].tolist() == [10, 20, 30, 40]


def test_folder_may_be_given_as_text(tmp_path: Path) -> None:
    save(plain(), tmp_path / "a.png")
    assert Dataset(str(tmp_path), 32).shape == (1, 32, 32, 3)


def test_list_of_files_keeps_its_order_and_needs_no_known_ending(tmp_path: Path) -> None:
    files = [save(plain(BLUE), tmp_path / "z.png"), save(plain(RED), tmp_path / "a.png")]
    files[0] = files[0].rename(tmp_path / "z")
    assert Dataset([str(files[0]), files[1]], 32).images[:, 0, 0].tolist() == [list(BLUE), list(RED)]


# --- reading one image -------------------------------------------------------------------------------------

# How Pillow turns a picture that is upright into what a camera stores with each EXIF orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
def test_photo_taken_with_a_turned_camera_is_upright(orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 16:], pixels[16:, :16], pixels[16:, 16:] = RED, GREEN, BLUE, WHITE
    stored = Image.fromarray(pixels)
    method = STORED[orientation]
    if method is not None:
        stored = stored.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    seen = load_image(tmp_path / "a.jpg", 32)[8::16, 8::16].reshape(4, 3).astype(int)
    assert np.abs(seen - [RED, GREEN, BLUE, WHITE]).max() < 12


def exif(*tags: tuple[int, int, int, int]) -> bytes:
    """EXIF of tags, each its number, type, count and value (or, if it is longer, where it is)."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return (
        b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<Iii", 0, -72, 1)
    )


TURNED = (0x0112, 3, 1, 6)  # Orientation, the values of which start at byte 38 where there are two tags
ODD_EXIF: dict[str, tuple[bytes, bool]] = {
    "XResolution as SRATIONAL": (exif(TURNED, (0x011A, 10, 1, 38)), True),
    "ResolutionUnit as ASCII": (exif(TURNED, (0x0128, 2, 2, 0x32)), True),
    "Make as RATIONAL": (exif(TURNED, (0x010F, 5, 1, 38)), True),
    "XMP as ASCII": (exif(TURNED, (700, 2, 4, 0x41424300)), True),
    "header cut short": (exif(TURNED)[:11], False),
    "first tag cut away": (exif(TURNED)[:16], False),
}


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("odd", ODD_EXIF)
def test_picture_with_odd_exif_is_used_and_turned_where_its_orientation_can_be_read(
    odd: str, ending: str, tmp_path: Path
) -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:32] = 255
    content, turned = ODD_EXIF[odd]
    Image.fromarray(halves).save(tmp_path / f"a{ending}", exif=content)
    dataset = Dataset(tmp_path, 32)
    left, right = dataset.images[0, :, 0].mean(), dataset.images[0, :, -1].mean()
    assert (abs(left - right) > 200) == turned  # white above, or, turned by 90 degrees, at one side


@pytest.mark.tutorial_bug(18)
@pytest.mark.parametrize("upright", [False, True])
def test_centre_square_of_an_oblong_picture_is_kept_without_squeezing(upright: bool, tmp_path: Path) -> None:
    thirds = np.zeros((30, 90, 3), np.uint8)
    thirds[:, :30], thirds[:, 30:60], thirds[:, 60:] = RED, GREEN, BLUE
    file = save(Image.fromarray(thirds.swapaxes(0, 1) if upright else thirds), tmp_path / "a.png")
    image = load_image(file, 30)
    assert image.shape == (30, 30, 3)
    assert (image == GREEN).all()


@pytest.mark.tutorial_bug(18)
@pytest.mark.parametrize("size", [(33, 57), (128, 127), (1, 1), (7, 300)])
def test_odd_sized_files_have_the_training_size_once_loaded(size: tuple[int, int], tmp_path: Path) -> None:
    save(plain(RED, size), tmp_path / "odd.png")
    save(plain(RED, (32, 32)), tmp_path / "fits.png")
    dataset = Dataset(tmp_path, 32)
    assert dataset.shape == (2, 32, 32, 3)
    assert (dataset.images == RED).all()


def test_picture_of_the_training_size_passes_unchanged(cats: np.ndarray, tmp_path: Path) -> None:
    file = save(Image.fromarray(cats[0]), tmp_path / "cat.png")
    assert np.array_equal(load_image(file, 32), cats[0])


def test_fine_stripes_become_gray_when_reduced_and_no_coarse_false_stripes(tmp_path: Path) -> None:
    stripes = np.zeros((240, 240), np.uint8)
    stripes[:, np.arange(240) // 3 % 2 == 1] = 255  # 6 pixels a period; the small picture's pixel holds 10
    small = load_image(save(Image.fromarray(stripes), tmp_path / "a.png"), 24, "L")
    assert np.abs(small[:, 2:-2].astype(float) - 127.5).max() < 20


def test_fine_noise_averages_out_when_reduced(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    small = load_image(save(Image.fromarray(noise), tmp_path / "a.png"), 32, "L")
    # Each small pixel stands for 8 x 8 of them: a filter that looks at all divides the deviation by 6 to 8,
    # one that looks at four by 2.
    assert small.std() < noise.std() / 4


@pytest.mark.tutorial_bug(14)
def test_grayscale_has_one_channel_with_the_brightness_of_the_colours(tmp_path: Path) -> None:
    file = save(plain(GREEN), tmp_path / "a.png")
    dataset = Dataset(tmp_path, 32, mode="L")
    assert dataset.shape == (1, 32, 32, 1)
    assert dataset.image_mode == "L"
    assert (dataset.images == np.asarray(Image.open(file).convert("L"))[0, 0]).all()


def test_gray_file_has_three_equal_channels_in_colour(tmp_path: Path) -> None:
    save(Image.new("L", (40, 40), 77), tmp_path / "a.jpg")
    dataset = Dataset(tmp_path, 32)
    assert dataset.image_mode == "RGB"
    assert (dataset.images == 77).all()


@pytest.mark.parametrize("mode", ["CMYK", "rgb", ""])
def test_unknown_image_mode_is_refused_by_name(mode: str, tmp_path: Path) -> None:
    save(plain(), tmp_path / "a.png")
    with pytest.raises(ValueError, match=f'"RGB" or "L", not "{mode}"'):
        Dataset(tmp_path, 32, mode)
    with pytest.raises(ValueError, match=f'"RGB" or "L", not "{mode}"'):
        load_image(tmp_path / "a.png", 32, mode)


# --- the formats of SPEC section 3, and what is inside them ------------------------------------------------


def red_then_blue(file: Path) -> None:
    plain(RED).save(file, save_all=True, append_images=[plain(BLUE)], lossless=True)


def palette(file: Path, transparency: bytes | int | None) -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([*BLUE, *RED])
    image.save(file, **({} if transparency is None else {"transparency": transparency}))


FORMATS: dict[str, Callable[[Path], object]] = {
    "photo.jpg": lambda file: plain().save(file, quality=100, subsampling=0),
    "progressive.jpeg": lambda file: plain().save(file, quality=100, subsampling=0, progressive=True),
    "cmyk.jpg": lambda file: Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(file, quality=100),
    "colour.png": lambda file: plain().save(file),
    "opaque_alpha.png": lambda file: Image.new("RGBA", (40, 40), (*RED, 255)).save(file),
    "palette.png": lambda file: palette(file, None),
    "palette_one_transparent.png": lambda file: palette(file, 0),
    "palette_with_alpha.png": lambda file: palette(file, bytes([128, 255])),
    "picture.bmp": lambda file: plain().save(file),
    "picture.webp": lambda file: plain().save(file, lossless=True),
    "alpha.webp": lambda file: Image.new("RGBA", (40, 40), (*RED, 255)).save(file, lossless=True),
    "picture.gif": lambda file: plain().save(file),
    "animation.gif": red_then_blue,
    "animation.webp": red_then_blue,
    "best.avif": lambda file: plain().save(file, quality=100),
}
FORMATS |= {
    f"as_it_comes{ending}": lambda file: plain().save(file)
    for ending in (".jpe", ".jfif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm")
}


@pytest.mark.tutorial_bug(27)
@pytest.mark.parametrize("name", FORMATS)
def test_format_is_read_with_its_colours_and_of_an_animation_the_first_frame(
    name: str, tmp_path: Path
) -> None:
    if Path(name).suffix not in Image.registered_extensions():
        pytest.skip("this Pillow does not know the format")
    FORMATS[name](tmp_path / name)
    # Through the folder: pytest turns any warning that Pillow gives on the way into an error.
    dataset = Dataset(tmp_path, 32)
    assert dataset.skipped == []
    assert np.abs(dataset.images.astype(int) - RED).max() <= 3


def test_every_ending_that_is_looked_for_is_tried_here() -> None:
    assert {Path(name).suffix for name in FORMATS} == set(IMAGE_SUFFIXES)


@pytest.mark.tutorial_bug(27)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sixteen_bit_png_is_scaled_to_eight_bits_and_not_clipped_to_white(mode: str, tmp_path: Path) -> None:
    gray = np.repeat(np.array([0, 0x4040, 0x8080, 0xFFFF], np.uint16), 8 * 32).reshape(32, 32)
    save(Image.fromarray(gray), tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", 32, mode)
    assert np.abs(image[4::8, 0, 0].astype(int) - [0, 0x40, 0x80, 0xFF]).max() <= 2


@pytest.mark.parametrize(
    ("bits", "colour_type", "transparent", "opaque", "seen"),
    [
        *((1, 0, 1, 0, 0), (2, 0, 1, 2, 0xAA), (4, 0, 7, 15, 0xFF), (8, 0, 7, 8, 8)),
        *((16, 0, 0x1234, 0x1235, 0x12), (8, 2, 7, 8, 8), (16, 2, 0x1234, 0x4321, 0x43)),
    ],
)
def test_transparent_colour_of_a_png_is_gray_whatever_the_bits(
    bits: int, colour_type: int, transparent: int, opaque: int, seen: int, tmp_path: Path
) -> None:
    channels = 1 + colour_type
    row = "".join(f"{value:0{bits}b}" * channels * 32 for value in (transparent, opaque))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 64, 64, bits, colour_type, 0, 0, 0),
        b"tRNS": struct.pack(">H", transparent) * channels,
        b"IDAT": zlib.compress(64 * (b"\0" + int(row, 2).to_bytes(len(row) // 8, "big"))),
    }
    png = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks.items():
        checksum = zlib.crc32(kind + content)
        png += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    (tmp_path / "a.png").write_bytes(png)
    image = load_image(tmp_path / "a.png", 64)
    assert (image[:, :32] == 128).all()
    assert (image[:, 32:] == seen).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_black_and_white_png_of_one_bit_is_read(mode: str, tmp_path: Path) -> None:
    save(Image.new("1", (40, 40), 1), tmp_path / "a.png")
    assert (load_image(tmp_path / "a.png", 32, mode) == 255).all()


def test_real_faces_load(real_faces: Path) -> None:
    files = list(find_images(real_faces).files)[:6]
    dataset = Dataset(files, 128)
    assert dataset.shape == (6, 128, 128, 3)
    assert dataset.skipped == []
    assert all(image.std() > 10 for image in dataset.images)
    assert np.array_equal(Dataset(files, 64, "L").images.shape, (6, 64, 64, 1))


# --- what cannot be read -----------------------------------------------------------------------------------


def broken_files(folder: Path) -> list[Path]:
    """A text file, an empty file and half a photo, all three with an image's ending."""
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "void.png").touch()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    photo = save(Image.fromarray(noise), folder / "half.jpeg")
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    return [folder / name for name in ("half.jpeg", "text.jpg", "void.png")]


@pytest.mark.tutorial_bug(19)
def test_unreadable_files_are_skipped_and_named_in_one_warning(tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    save(plain(), tmp_path / "good.png")
    with pytest.warns(UserWarning, match="skipped 3 unreadable") as caught:
        dataset = Dataset(tmp_path, 32)
    assert dataset.shape == (1, 32, 32, 3)
    assert [file for file, _ in dataset.skipped] == broken
    assert all(reason for _, reason in dataset.skipped)
    assert len(caught) == 1
    assert all(f"{file} ({reason})" in str(caught[0].message) for file, reason in dataset.skipped)
    assert caught[0].filename == __file__  # the warning points at the line that made the dataset


@pytest.mark.tutorial_bug(19)
def test_warning_of_many_unreadable_files_names_ten_and_counts_the_rest(tmp_path: Path) -> None:
    save(plain(), tmp_path / "good.png")
    for number in range(13):
        (tmp_path / f"bad{number:02}.png").touch()
    with pytest.warns(UserWarning, match=r"skipped 13 unreadable: .*bad09\.png .*; and 3 more$") as caught:
        dataset = Dataset(tmp_path, 32)
    assert "bad10" not in str(caught[0].message)
    assert len(dataset.skipped) == 13


@pytest.mark.parametrize("error", [struct.error("short"), AttributeError("x"), MemoryError()])
def test_no_error_of_a_decoder_ends_in_a_traceback(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(plain(), tmp_path / "odd.png")
    monkeypatch.setattr(data, "to_rgb", Mock(side_effect=error))
    with pytest.raises(DataError, match=rf"odd\.png \({str(error) or 'MemoryError'}\)"):
        Dataset(tmp_path, 32)


def test_postscript_is_not_handed_to_ghostscript_whatever_its_name(tmp_path: Path) -> None:
    save(plain(), tmp_path / "good.png")
    plain().save(tmp_path / "cat.jpg", "EPS")
    with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*cat\.jpg \(cannot identify"):
        assert len(Dataset(tmp_path, 32).images) == 1


@pytest.mark.parametrize(("name", "limit"), [("LARGEST_PHOTO", 9999), ("LARGEST_SIDE", 99)])
def test_picture_too_large_to_decode_is_skipped_but_not_a_jpeg_that_is_decoded_smaller(
    name: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("a.png", "b.jpg"):
        save(plain(size=(100, 100)), tmp_path / file)
    monkeypatch.setattr(data, name, limit)
    with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*a\.png \(100 x 100 pixels, "):
        assert len(Dataset(tmp_path, 8).images) == 1


@pytest.mark.parametrize("pixels", [np.ones((40, 40), np.float32), np.full((40, 40), 1 << 20, np.int32)])
def test_pixels_of_32_bits_are_refused_and_not_made_black(pixels: np.ndarray, tmp_path: Path) -> None:
    save(Image.fromarray(pixels), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="32 bits"):
        load_image(tmp_path / "a.tif", 32)


@pytest.mark.tutorial_bug(19)
def test_missing_file_in_a_list_is_skipped_by_name(tmp_path: Path) -> None:
    files = [save(plain(), tmp_path / "a.png"), tmp_path / "gone.png"]
    with pytest.warns(UserWarning, match=r"gone\.png"):
        assert Dataset(files, 32).shape[0] == 1


@pytest.mark.tutorial_bug(19)
def test_empty_folder_is_one_error_that_names_the_folder_and_the_files_it_wants(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        Dataset(tmp_path, 32)
    assert str(tmp_path) in str(caught.value)
    assert all(suffix in str(caught.value) for suffix in IMAGE_SUFFIXES)


@pytest.mark.tutorial_bug(19)
def test_missing_folder_is_one_error_that_names_it_and_where_it_was_looked_for() -> None:
    with pytest.raises(DataError) as caught:
        Dataset("no/such/cats", 32)
    assert "no such folder" in str(caught.value)
    assert str(Path("no/such/cats")) in str(caught.value)
    assert str(Path.cwd()) in str(caught.value)


@pytest.mark.tutorial_bug(19)
def test_folder_with_nothing_readable_is_one_error_that_names_folder_and_files(tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    with warnings.catch_warnings(record=True) as caught_warnings, pytest.raises(DataError) as caught:
        Dataset(tmp_path, 32)
    assert f"none of the 3 images in {tmp_path} can be read" in str(caught.value)
    assert all(str(file) in str(caught.value) for file in broken)
    assert caught_warnings == []


def test_empty_list_of_files_is_an_error() -> None:
    with pytest.raises(DataError, match="no images in the list of files"):
        Dataset([], 32)


def test_data_error_is_a_value_error_so_that_callers_need_not_import_it() -> None:
    assert issubclass(DataError, ValueError)


# --- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_array_of_images_is_a_dataset(channels: int, mode: str) -> None:
    images = np.zeros((5, 32, 48, channels), np.uint8)
    dataset = Dataset.from_array(images)
    assert dataset.shape == (5, 32, 48, channels)
    assert dataset.image_mode == mode
    assert dataset.skipped == []


def test_array_and_folder_of_the_same_images_give_the_same_batches(cats: np.ndarray, tmp_path: Path) -> None:
    for number, cat in enumerate(cats[:6]):
        save(Image.fromarray(cat), tmp_path / f"{number}.png")
    from_folder, from_array = Dataset(tmp_path, 32, seed=3), Dataset.from_array(cats[:6], seed=3)
    pairs = zip(from_folder.get_batches(4), from_array.get_batches(4), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((2, 32, 32, 4), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_array_of_another_type_or_shape_is_refused_with_what_it_was(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected uint8 images") as caught:
        Dataset.from_array(images)
    assert f"got {images.dtype} {images.shape}" in str(caught.value)


# --- batches -----------------------------------------------------------------------------------------------


@pytest.mark.tutorial_bug(10)
def test_batches_fill_the_range_of_the_generators_tanh() -> None:
    every_gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    (batch,) = Dataset.from_array(every_gray).get_batches(1)
    assert batch.dtype == np.float32
    assert batch.min() == -1
    assert batch.max() == 1
    assert np.array_equal(batch, every_gray.astype(np.float32) / 127.5 - 1)


@pytest.mark.tutorial_bug(10)
def test_scaling_is_the_same_for_every_image_whatever_its_own_range() -> None:
    dark_and_light = np.array([[10, 20], [200, 255]], np.uint8).reshape(2, 1, 2, 1)
    together = scale_pixels(dark_and_light)
    assert np.array_equal(together[1:], scale_pixels(dark_and_light[1:]))
    assert together.ravel() == pytest.approx([10 / 127.5 - 1, 20 / 127.5 - 1, 200 / 127.5 - 1, 1], abs=1e-6)


@pytest.mark.tutorial_bug(17)
@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (64, [11]), (1, [1] * 11)])
def test_last_and_smaller_batch_is_seen(batch_size: int, sizes: list[int]) -> None:
    dataset = Dataset.from_array(numbered_images(11))
    assert [len(batch) for batch in dataset.get_batches(batch_size)] == sizes
    assert steps_per_epoch(11, batch_size) == len(sizes)
    assert sorted(epoch_order(dataset, batch_size)) == list(range(11))


@pytest.mark.tutorial_bug(17)
def test_images_are_shuffled_anew_in_every_epoch_and_each_is_seen_once() -> None:
    dataset = Dataset.from_array(numbered_images(40))
    orders = [epoch_order(dataset) for _ in range(5)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(40))]}) == 6  # the files' own order is none


@pytest.mark.tutorial_bug(26)
def test_same_seed_gives_the_same_epochs_and_another_seed_others() -> None:
    first, second, other = (Dataset.from_array(numbered_images(40), seed) for seed in (5, 5, 6))
    orders = [[epoch_order(dataset) for _ in range(3)] for dataset in (first, second, other)]
    assert orders[0] == orders[1]
    assert all(order not in orders[0] for order in orders[2])


def test_epoch_asked_for_by_number_repeats_and_the_next_one_follows_it() -> None:
    orders = [epoch_order(Dataset.from_array(numbered_images(40)), epoch=epoch) for epoch in range(4)]
    dataset = Dataset.from_array(numbered_images(40))
    assert epoch_order(dataset) == orders[0]
    assert epoch_order(dataset, epoch=2) == orders[2]
    assert epoch_order(dataset) == orders[3]
    assert epoch_order(dataset, epoch=0) == orders[0]
    assert epoch_order(dataset) == orders[1]


def test_two_epochs_read_in_turns_do_not_disturb_each_other() -> None:
    dataset = Dataset.from_array(numbered_images(8))
    pairs = zip(dataset.get_batches(4, epoch=0), dataset.get_batches(4, epoch=1), strict=True)
    interleaved = [round(float(value)) for one, _ in pairs for value in (one[:, 0, 0, 0] + 1) * 127.5]
    assert interleaved == epoch_order(dataset, epoch=0)


@pytest.mark.parametrize("batch_size", [0, -4])
def test_batch_size_below_one_is_refused_at_once(batch_size: int) -> None:
    dataset = Dataset.from_array(numbered_images(4))
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        dataset.get_batches(batch_size)


def test_batches_of_pixels_are_what_the_scaled_ones_are_made_of(cats: np.ndarray) -> None:
    dataset = Dataset.from_array(cats)
    pairs = zip(dataset.get_batches(16, epoch=1, scale=False), dataset.get_batches(16, epoch=1), strict=True)
    for pixels, scaled in pairs:
        assert pixels.dtype == np.uint8
        assert np.array_equal(scale_pixels(pixels), scaled)


def test_what_is_made_ahead_comes_in_order_and_one_at_a_time() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1, 6):
            made.append(number)
            yield number

    taken = []
    for number in prefetch(numbers()):
        taken.append(number)
        assert len(made) <= number + 1
    assert taken == [1, 2, 3, 4, 5]


def test_what_is_left_early_is_made_no_further() -> None:
    threads, endless = threading.active_count(), prefetch(itertools.count(1))
    assert next(endless) == 1
    endless.close()
    assert threading.active_count() == threads


def test_an_error_in_making_comes_where_the_item_would_have_come() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    ahead = prefetch(numbers())
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_dataset_stays_usable_when_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    save(plain(), folder / "a.png")
    dataset = Dataset(folder, 32)
    shutil.rmtree(folder)
    assert dataset.images.dtype == np.uint8
    assert sum(len(batch) for batch in dataset.get_batches(1)) == 1


def test_the_fingerprint_tells_other_images_and_another_order_from_these(cats: np.ndarray) -> None:
    prints = {Dataset.from_array(images).fingerprint() for images in (cats, cats[::-1], cats[1:], cats ^ 1)}
    assert len(prints) == 4
    assert Dataset.from_array(cats.copy(), seed=5).fingerprint() == Dataset.from_array(cats).fingerprint()
