"""Any picture must become a square of uint8 pixels that looks like it, or say why not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from pictures import BLUE, GREEN, RED, WHITE, plain, save
from PIL import Image

from catdcgan import DataError, Dataset
from catdcgan.data import photos
from catdcgan.data.photos import IMAGE_SUFFIXES, load_image

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
    if (method := STORED[orientation]) is not None:
        stored = stored.transpose(method)
    stored.save(tmp_path / "a.jpg", exif=exif((0x0112, 3, 1, orientation)), quality=100, subsampling=0)
    seen = load_image(tmp_path / "a.jpg", 32)[8::16, 8::16].reshape(4, 3).astype(int)
    assert np.abs(seen - [RED, GREEN, BLUE, WHITE]).max() < 12


def exif(*tags: tuple[int, int, int, int]) -> bytes:
    """EXIF of tags, each its number, type, count and value (or, if it is longer, where it is)."""
    content = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    content += b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return content + struct.pack("<Iii", 0, -72, 1)


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
    images = Dataset(tmp_path, 32).images
    assert images.shape == (2, 32, 32, 3)
    assert (images == RED).all()


def test_fine_stripes_become_gray_when_reduced_and_no_coarse_false_stripes(tmp_path: Path) -> None:
    stripes = np.zeros((240, 240), np.uint8)
    stripes[:, np.arange(240) // 3 % 2 == 1] = 255  # 6 pixels a period; the small picture's pixel holds 10
    small = load_image(save(Image.fromarray(stripes), tmp_path / "a.png"), 24, "L")
    assert np.abs(small[:, 2:-2].astype(float) - 127.5).max() < 20


@pytest.mark.tutorial_bug(14)
def test_grayscale_has_one_channel_with_the_brightness_of_the_colours(tmp_path: Path) -> None:
    save(plain(GREEN), tmp_path / "a.png")
    dataset = Dataset(tmp_path, 32, mode="L")
    assert (dataset.shape, dataset.image_mode) == ((1, 32, 32, 1), "L")
    assert (dataset.images == plain(GREEN).convert("L").getpixel((0, 0))).all()


@pytest.mark.parametrize(("mode", "gray", "seen"), [("L", 77, 77), ("1", 1, 255)])
def test_gray_file_has_three_equal_channels(mode: str, gray: int, seen: int, tmp_path: Path) -> None:
    save(Image.new(mode, (40, 40), gray), tmp_path / "a.png")
    dataset = Dataset(tmp_path, 32)
    assert (dataset.shape, dataset.image_mode) == ((1, 32, 32, 3), "RGB")
    assert (dataset.images == seen).all()


@pytest.mark.parametrize("mode", ["CMYK", "rgb", ""])
def test_unknown_image_mode_is_refused_by_name(mode: str, tmp_path: Path) -> None:
    for read in (Dataset, load_image):
        with pytest.raises(ValueError, match=f'"RGB" or "L", not "{mode}"'):
            read(tmp_path, 32, mode)


@pytest.mark.parametrize(
    ("size", "mode", "reduced"),
    [
        *(((1600, 1200), "RGB", True), ((1203, 1607), "RGB", True), ((1203, 1607), "L", True)),
        ((520, 400), "RGB", False),
    ],
)
def test_photo_beyond_four_times_the_size_is_read_at_reduced_size_and_looks_the_same(
    size: tuple[int, int], mode: str, reduced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Soft shapes with fine grain, as a camera gives.
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8))
    grain = random.normal(0, 8, (*size[::-1], 3))
    photo = (np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(photo).convert(mode).save(tmp_path / "a.jpg", quality=92)
    seen = load_image(tmp_path / "a.jpg", 64).astype(float)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    whole = load_image(tmp_path / "a.jpg", 64)
    assert np.array_equal(seen, whole) != reduced
    assert np.mean((seen - whole) ** 2) < 255**2 / 10**4  # 40 dB; JPEG at quality 92 has about 38


# --- the formats of SPEC section 3, and what is inside them ------------------------------------------------
def red_then_blue(file: Path) -> None:
    plain(RED).save(file, save_all=True, append_images=[plain(BLUE)], lossless=True)


def palette(file: Path, transparency: bytes | int | None) -> None:
    image = Image.new("P", (40, 40), 1)
    image.putpalette([*BLUE, *RED])
    if transparency is not None:
        image.info["transparency"] = transparency
    image.save(file)


FORMATS: dict[str, Callable[[Path], object]] = {
    "progressive.jpeg": lambda file: plain().save(file, quality=100, subsampling=0, progressive=True),
    "cmyk.jpg": lambda file: Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(file, quality=100),
    "opaque_alpha.png": lambda file: Image.new("RGBA", (40, 40), (*RED, 255)).save(file),
    "palette.png": lambda file: palette(file, None),
    "palette_one_transparent.png": lambda file: palette(file, 0),
    "palette_with_alpha.png": lambda file: palette(file, bytes([128, 255])),
    "alpha.webp": lambda file: Image.new("RGBA", (40, 40), (*RED, 255)).save(file, lossless=True),
    "animation.gif": red_then_blue,
    "animation.webp": red_then_blue,
    **{f"best{ending}": lambda file: plain().save(file, quality=100) for ending in IMAGE_SUFFIXES},
}


@pytest.mark.tutorial_bug(27)
@pytest.mark.parametrize("name", FORMATS)
def test_format_is_read_in_its_colours_and_of_an_animation_frame_one(name: str, tmp_path: Path) -> None:
    if Path(name).suffix not in Image.registered_extensions():
        pytest.skip("this Pillow does not know the format")
    FORMATS[name](tmp_path / name)
    # Through the folder: pytest turns any warning that Pillow gives on the way into an error.
    dataset = Dataset(tmp_path, 32)
    assert dataset.skipped == []
    assert np.abs(dataset.images.astype(int) - RED).max() <= 3


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


# --- what cannot be read -----------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [struct.error("short"), AttributeError("x"), MemoryError()])
def test_no_error_of_a_decoder_ends_in_a_traceback(error: Exception, tmp_path: Path) -> None:
    save(plain(), tmp_path / "odd.png")
    odd = pytest.raises(DataError, match=rf"odd\.png \({str(error) or 'MemoryError'}\)")
    with patch.object(photos, "to_rgb", side_effect=error), odd:
        Dataset(tmp_path, 32)


@pytest.mark.parametrize(("name", "limit"), [("LARGEST_PHOTO", 9999), ("LARGEST_SIDE", 99)])
def test_picture_too_large_to_decode_is_skipped_but_not_a_jpeg_that_is_decoded_smaller(
    name: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("a.png", "b.jpg"):
        save(plain(size=(100, 100)), tmp_path / file)
    monkeypatch.setattr(photos, name, limit)
    with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*a\.png \(100 x 100 pixels, "):
        assert len(Dataset(tmp_path, 8).images) == 1


@pytest.mark.parametrize("pixels", [np.ones((40, 40), np.float32), np.full((40, 40), 1 << 20, np.int32)])
def test_pixels_of_32_bits_are_refused_and_not_made_black(pixels: np.ndarray, tmp_path: Path) -> None:
    save(Image.fromarray(pixels), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="32 bits"):
        load_image(tmp_path / "a.tif", 32)
