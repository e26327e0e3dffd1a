"""Any source must become whole square pictures in the folder, or be named in the report with the reason."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import re
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catdcgan.data import sources
from catdcgan.data.faces import crop_face, read_annotation
from catdcgan.data.photos import load_image
from catdcgan.data.prepare import prepare_photos
from catdcgan.data.sources import Report
from catdcgan.errors import PrepareError

EYES = "9 80 100 120 100"
CAT = f"{EYES} 100 130 50 90 55 50 70 70 130 70 145 50 150 90 "  # a face of 100 pixels
SIZE = 64
Files = dict[str, bytes]


def photo(size: tuple[int, int] = (200, 180), file_format: str = "JPEG", seed: int = 0) -> bytes:
    """A blurred noise, so that two photos are not alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise).resize(size), file_format)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def rotated(content: bytes) -> bytes:
    """The same JPEG with an EXIF rotation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.open(io.BytesIO(content)), "JPEG", exif=exif)


def cat(name: str, annotation: str = CAT, seed: int = 0) -> Files:
    return {name: photo(seed=seed), f"{name}.cat": annotation.encode()}


def write_folder(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(files: Files, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def run(source: Path | Files, out: Path, **options: bool | int) -> Report:
    """Prepare a source; files are written to a folder beside `out` first."""
    if isinstance(source, dict):
        source = write_folder(source, out.parent / "source")
    return prepare_photos(source, out, **{"size": SIZE, "progress": False, **options})  # type: ignore[arg-type]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def pictures(out: Path) -> list[str]:
    """All that is there but the report: each must be a whole picture of the right size."""
    names = sorted(str(file.relative_to(out)) for file in out.rglob("*") if not file.is_dir())
    names.remove("report.json")
    for name in names:
        with Image.open(out / name) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIZE, SIZE)), name
            image.load()
    return names


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


# --- the CAT dataset, in each shape ------------------------------------------------------------------------
CATS = cat("CAT_00/00000001_000.jpg", seed=1) | cat("CAT_01/00000100_002.jpg", seed=2)
SHAPES: dict[str, Files] = {
    "folders": CATS,
    "no folders": {Path(name).name: content for name, content in CATS.items()},
    "an outer folder": {f"cats/{name}": content for name, content in CATS.items()},
    "all twice": CATS | {f"cats/{name}": content for name, content in CATS.items()},
    "twice, once unannotated": CATS | {f"A/{n}": c for n, c in CATS.items() if not n.endswith(".cat")},
}
both = pytest.mark.parametrize("write", [write_folder, write_zip])
Write = Callable[[Files, Path], Path]


@both
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_the_dataset_gives_the_same_faces(shape: str, write: Write, out: Path) -> None:
    report = run(write(SHAPES[shape], out.parent / "source"), out)
    assert pictures(out) == ["00000001_000.png", "00000100_002.png"]
    assert len(report.duplicates) == (2 if "twice" in shape else 0)
    assert report.photos == len(SHAPES[shape]) / 2 + (shape == "twice, once unannotated")
    for name in ("CAT_00/00000001_000", "CAT_01/00000100_002"):
        face = crop_face(Image.open(io.BytesIO(CATS[f"{name}.jpg"])), read_annotation(CAT), SIZE)
        assert np.array_equal(pixels(out / f"{Path(name).name}.png"), np.asarray(face))


def test_two_photos_of_one_name_that_differ_are_both_kept(out: Path) -> None:
    files = cat("a/x.jpg", seed=1) | cat("b/x.jpg", seed=5)
    assert run(files, out).written == {"a/x.jpg": "x.png", "b/x.jpg": "x-2.png"}


def test_photo_without_annotation_and_annotation_without_photo_are_named(out: Path) -> None:
    report = run(cat("a.jpg") | {"b.jpg": photo(), "00000003_019.jpg.cat": CAT.encode()}, out)
    assert report.without_annotation == {"b.jpg": "there is no b.jpg.cat beside it"}
    assert report.without_photo == {"00000003_019.jpg.cat": "there is no 00000003_019.jpg"}
    assert report.photos == 2
    assert pictures(out) == ["a.png"]


def test_outliers_are_left_out_unless_asked_for(out: Path) -> None:
    files = cat("CAT_00/00000004_007.jpg") | cat("CAT_00/a.jpg")
    assert list(run(files, out).outliers) == ["CAT_00/00000004_007.jpg"]
    assert pictures(out) == ["a.png"]
    assert not run(files, out, keep_outliers=True).outliers
    assert pictures(out) == ["00000004_007.png", "a.png"]


def test_known_wrong_annotations_are_never_used_but_the_right_one_of_such_a_photo_is(out: Path) -> None:
    ear = "9 220 215 277 232 230 255 191 177 166 124 206 169 325 197 381 182 358 219 "
    files = cat("00000003_019.jpg") | cat("00000003_015.jpg", ear)
    report = run(files, out, keep_outliers=True)
    assert set(report.wrong_annotation) == {"00000003_019.jpg", "00000003_015.jpg"}
    assert run(cat("00000003_015.jpg"), out, keep_outliers=True).written


def test_large_jpeg_is_decoded_smaller_to_the_same_face(out: Path) -> None:
    points, large = read_annotation(CAT) * 8, photo((1601, 1437))
    run({"a.jpg": large, "a.jpg.cat": f"9 {' '.join(map(str, points.ravel()))}".encode()}, out)
    whole = np.asarray(crop_face(Image.open(io.BytesIO(large)), points, SIZE)).astype(int)
    assert np.abs(pixels(out / "a.png") - whole).max() <= 4


def test_exif_rotation_does_not_move_an_annotated_face(out: Path) -> None:
    """Coordinates are in pixels of the photo as stored."""
    files = cat("plain.jpg") | cat("rotated.jpg")
    files["rotated.jpg"] = rotated(files["plain.jpg"])
    run(files, out)
    assert np.abs(pixels(out / "plain.png").astype(int) - pixels(out / "rotated.png")).mean() < 3


# --- photos without annotation -----------------------------------------------------------------------------
@both
def test_other_photos_become_centre_squares_in_their_folders(write: Write, out: Path) -> None:
    tall = rotated(photo((90, 150)))
    files = {"a.jpg": photo(), "deep/er/b.png": photo(file_format="PNG"), "c.jpg": tall}
    report = run(write(files, out.parent / "source"), out)
    assert pictures(out) == ["a.png", "c.png", "deep/er/b.png"]
    assert report.summary() == "3 photos: 3 written"
    write_folder({"c.jpg": tall}, out.parent)
    assert np.array_equal(pixels(out / "c.png"), load_image(out.parent / "c.jpg", SIZE))


def test_names_that_meet_in_one_picture_are_numbered_also_where_case_is_ignored(out: Path) -> None:
    files = {name: photo(seed=i) for i, name in enumerate(["a.jpg", "a.jpeg", "A.jpg", "a.png/x.jpg"])}
    # A.png would be the folder a.png on some systems.
    made = {"A.jpg": "A-2.png", "a.jpeg": "a-3.png", "a.jpg": "a-4.png", "a.png/x.jpg": "a.png/x.png"}
    assert run(files, out).written == made
    assert len(pictures(out)) == 4


def test_names_that_windows_does_not_allow_are_changed(out: Path) -> None:
    made = {"CON.jpg": "_CON.png", "aux/b?.jpg": "_aux/b_.png", "consul.jpg": "consul.png"}
    assert run({name: photo(seed=i) for i, name in enumerate(made)}, out).written == made


# --- odd and damaged photos --------------------------------------------------------------------------------
def huge_png(width: int = 30_000, height: int = 30_000) -> bytes:
    """Many pixels in a few bytes: the header is all there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PLAIN = Image.open(io.BytesIO(photo())).convert("RGB")
TRANSPARENT = PLAIN.convert("P")
TRANSPARENT.info["transparency"] = bytes(range(256))
FRAMES = [PLAIN.convert("P"), Image.new("P", PLAIN.size)]
USED: dict[str, bytes] = {
    "cmyk.jpg": encoded(PLAIN.convert("CMYK"), "JPEG"),
    "gray.jpg": encoded(PLAIN.convert("L"), "JPEG"),
    "16bit.png": encoded(Image.fromarray(np.full((180, 200), 40_000, np.uint16)), "PNG"),
    "palette.png": encoded(TRANSPARENT, "PNG"),
    "rgba.png": encoded(PLAIN.convert("RGBA"), "PNG"),
    "animated.gif": encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "kätzchen 猫 🐈.jpg": photo(),
    "x" * 251 + ".jpg": photo(),
    "png named.jpg": photo(file_format="PNG"),
}
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "huge.png": (huge_png(), "900000000 pixels|30000 x 30000"),
    "tall.png": (huge_png(150, 70_000), "a side beyond 65,535"),
    "truncated.jpg": (photo()[:-300], "truncated"),
    "text.jpg": (b"no picture at all", "cannot identify"),
    "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
    "empty.jpg": (b"", "cannot identify"),
    "broken.png": (photo(file_format="PNG")[:200] + bytes(300), ""),
}


@both
@pytest.mark.parametrize("annotated", [True, False])
def test_every_odd_photo_is_used_or_named_with_the_reason(annotated: bool, write: Write, out: Path) -> None:
    files = USED | {name: content for name, (content, _) in UNREADABLE.items()}
    if annotated:  # the longest name has no room for more
        files = {name.replace("x" * 251, "x" * 247): content for name, content in files.items()}
        files |= {f"{name}.cat": CAT.encode() for name in files}
    report = run(write(files, out.parent / "source"), out)
    assert len(pictures(out)) == len(report.written) == len(USED)
    assert set(report.unreadable) == set(UNREADABLE)
    for name, reason in report.unreadable.items():
        assert reason
        assert re.search(UNREADABLE[name][1], reason), reason
    assert report.photos == len(USED) + len(UNREADABLE)


def test_limit_of_pixels_is_our_own(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    report = run({"huge.png": huge_png()}, out)
    assert report.unreadable == {"huge.png": "30000 x 30000 pixels, more than 64 million"}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow warns from here to twice as much
    assert run(cat("a.jpg"), out).written == {"a.jpg": "a.png"}


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (200, 63)])
def test_photo_with_a_side_below_the_size_is_too_small(size: tuple[int, int], out: Path) -> None:
    small = photo(size, "PNG")
    reason = f"the photo has {size[0]} x {size[1]} pixels, a side below 64"
    assert run({"a.png": small}, out).too_small == {"a.png": reason}
    if size[0] == 1:  # an annotated face is not in it
        report = run({"a.png": small, "a.png.cat": CAT.encode()}, out)
        assert "lie outside" in report.wrong_annotation["a.png"]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (b"", "expected the number 9"),
        (CAT.replace("100", "1" * 400).encode(), "is not a coordinate"),
        (b"\xff\xfe\x00" + CAT.encode("utf-16"), "expected the number 9"),
        (bytes(50_000), "expected the number 9"),
        (CAT.replace("150 90", "99999 90").encode(), "a face 99949 pixels wide"),
        (CAT.replace(EYES, "9 -80 -100 -120 -100").encode(), "lie outside the photo"),
        (CAT.replace(EYES, "9 80 100 80 100").encode(), "both eyes are at one point"),
    ],
)
def test_wrong_annotation_is_named_and_the_run_goes_on(annotation: bytes, reason: str, out: Path) -> None:
    report = run(cat("good.jpg") | {"a.jpg": photo(), "a.jpg.cat": annotation}, out)
    assert reason in report.wrong_annotation["a.jpg"]
    assert pictures(out) == ["good.png"]


def test_ears_outside_the_photo_and_an_annotation_with_a_byte_order_mark_are_used(out: Path) -> None:
    files = cat("a.jpg", CAT.replace(" 50 90", " -50 -90")) | cat("b.jpg", "\ufeff" + CAT)
    assert len(run(files, out).written) == 2


def test_face_smaller_than_the_size_is_too_small_and_its_photo_is_not_decoded(out: Path) -> None:
    files = cat("a.jpg")
    files["a.jpg"] = files["a.jpg"][:-300]  # decoding would say "truncated"
    report = run(files, out, size=101)
    assert report.too_small == {"a.jpg": "the face is 100.0 pixels wide, below 101"}


def test_no_damage_to_a_photo_or_annotation_ends_the_run(out: Path) -> None:
    rng = random.Random(0)
    files: Files = {}
    for number in range(60):
        kind = ("jpeg", "png", "gif", "webp", "bmp")[number % 5]
        content = bytearray(photo(file_format=kind.upper()))
        for _ in range(rng.randrange(1, 40)):
            content[rng.randrange(len(content) if number % 2 else 100)] = rng.randrange(256)
        files |= {f"{number}.{kind}": bytes(content), f"{number}.{kind}.cat": CAT.encode()}
    report = run(files, out)
    assert report.photos == 60
    assert len(pictures(out)) == len(report.written)


# --- unsafe zips -------------------------------------------------------------------------------------------
def test_nothing_is_written_outside_the_folder_whatever_a_member_is_called(tmp_path: Path) -> None:
    source, inside = tmp_path / "a.zip", tmp_path / "deep" / "in"
    inside.mkdir(parents=True)
    bad = {
        "../evil.jpg": "outside its folder",
        "a/../../evil.jpg": "outside its folder",
        "..\\evil.jpg": "outside its folder",
        "/tmp/evil.jpg": "absolute",
        "\\\\server\\evil.jpg": "absolute",
        "C:\\evil.jpg": "absolute",
        "link.jpg": "a link",
        "pipe.jpg": "not a regular file",
    }
    odd = ['<b>:"c|?*.jpg', "e\x01.jpg", "...jpg", ".hidden/a.jpg", "./f//g.jpg", "h. /i.jpg", "fine.jpg"]
    with zipfile.ZipFile(source, "w") as archive:
        for name in [*bad, *odd]:
            member = zipfile.ZipInfo(name)
            kind = {"link.jpg": stat.S_IFLNK, "pipe.jpg": stat.S_IFIFO}.get(name, stat.S_IFREG)
            member.external_attr = (kind | 0o644) << 16
            archive.writestr(member, b"/etc/passwd" if name == "link.jpg" else photo())
    before = set(tmp_path.rglob("*"))
    report = run(source, inside / "out")
    assert report.refused.keys() == {name.replace("\\", "/") for name in bad}
    for name, reason in bad.items():
        assert reason in report.refused[name.replace("\\", "/")]
    assert pictures(inside / "out") == ["_b___c___.png", "e_.png", "f/g.png", "fine.png", "h/i.png"]
    made = set(tmp_path.rglob("*")) - before
    assert {path for path in made if inside / "out" not in (path, *path.parents)} == set()


def test_bombs_are_refused_before_they_are_unpacked(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_MEMBER", 3_000_000)
    files = {"bomb.jpg": bytes(2_000_000), "large.jpg": bytes(3_000_001), "fine.jpg": photo()}
    files["bomb.jpg.cat.txt"] = bytes(9_000_000)  # not wanted, so never read
    source = write_zip(files, out.parent / "a.zip")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("bzip2.jpg", photo(), zipfile.ZIP_BZIP2)
    report = run(source, out)
    assert report.refused == {
        "bomb.jpg": "unpacks to more than 200 times its size",
        "large.jpg": "3,000,001 bytes, beyond 3,000,000",
        "bzip2.jpg": "not compressed with deflate",
    }
    assert pictures(out) == ["fine.png"]


def changed_zip(files: Files, file: Path, change: Callable[[bytearray], object]) -> Path:
    content = bytearray(write_zip(files, file).read_bytes())
    change(content)
    file.write_bytes(content)
    return file


def test_member_that_lies_about_its_size_is_unreadable(out: Path) -> None:
    def lie(content: bytearray) -> None:
        struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, 1000)

    report = run(changed_zip({"a.jpg": bytes(5_000_000)}, out.parent / "a.zip", lie), out)
    assert "a.jpg" in report.unreadable


def test_zip_that_claims_too_much_in_all_is_an_error(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_ZIP", 10_000)
    with pytest.raises(PrepareError, match=r"a\.zip claims to hold .* unpack it"):
        run(write_zip({f"{i}.jpg": photo() for i in range(5)}, out.parent / "a.zip"), out)


def test_encrypted_zip_is_one_clear_error(out: Path) -> None:
    def encrypt(content: bytearray) -> None:
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(signature) + offset] |= 1

    with pytest.raises(PrepareError, match=r"a\.zip is encrypted: unpack it"):
        run(changed_zip(cat("a.jpg"), out.parent / "a.zip", encrypt), out)


def test_damaged_zip_is_one_clear_error_or_a_report(tmp_path: Path) -> None:
    source = tmp_path / "b.zip"
    whole = write_zip(CATS, source).read_bytes()
    for number, content in enumerate((whole[:-200], whole[: len(whole) // 2], b"PK\x03\x04", b"", b"<html>")):
        source.write_bytes(content)
        with pytest.raises(PrepareError, match=r"b\.zip is not a whole zip file .*download it again"):
            run(source, tmp_path / f"out{number}")
    rng = random.Random(1)
    for number in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            damaged[-rng.randrange(1, 400)] = rng.randrange(256)  # in the directory, at its end
        source.write_bytes(damaged)
        with suppress(PrepareError):
            run(source, tmp_path / f"damaged{number}")


def test_member_damaged_inside_is_named_and_the_others_are_used(out: Path) -> None:
    def damage(content: bytearray) -> None:
        content[300] ^= 255

    files = cat("a.jpg") | cat("b.jpg", seed=3)
    assert list(run(changed_zip(files, out.parent / "a.zip", damage), out).unreadable) == ["a.jpg"]
    assert pictures(out) == ["b.png"]


def test_name_in_a_zip_that_is_too_long_for_the_disk_is_refused_by_name(out: Path) -> None:
    names = ["x" * 300 + ".jpg", "y" * 300 + "/a.jpg", "/".join(["z" * 200] * 25) + "/a.jpg"]
    report = run(write_zip({name: photo() for name in [*names, "fine.jpg"]}, out.parent / "a.zip"), out)
    assert report.refused == dict.fromkeys(names, "the name is too long to write")
    assert pictures(out) == ["fine.png"]


def test_neither_hidden_members_nor_those_of_a_run_are_taken_from_a_zip(out: Path) -> None:
    names = [".Trash-1/a.jpg", "b/.c.jpg", "@eaDir/a.jpg", "runs/1/images/step_1.png", "runs/1/run.json"]
    names += ["__MACOSX/._a.jpg", "._a.jpg.cat"]
    files = {name: photo() for name in ["a.jfif", *names, "d.heic", "b/notes.txt"]}
    report = run(write_zip(files, out.parent / "a.zip"), out)
    assert report.summary() == "1 photo: 1 written, 2 other files passed over"
    assert list(report.passed_over) == ["d.heic", "b/notes.txt"]


# --- folders ----------------------------------------------------------------------------------------------
def test_missing_or_empty_source_is_one_clear_error_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="nowhere: no such folder or zip file"):
        run(tmp_path / "nowhere", tmp_path / "out")
    write_folder({"source/a.txt": b"", "source/b.cat": b""}, tmp_path)
    with pytest.raises(PrepareError, match=r"no photos in .*source: expected files ending in \.jpg"):
        run(tmp_path / "source", tmp_path / "out")
    with pytest.raises(PrepareError, match="no photos in"):
        run(write_zip({"a.txt": b""}, tmp_path / "a.zip"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_source_or_a_folder_around_it_cannot_be_written_to(tmp_path: Path) -> None:
    source = write_folder({"a.jpg": photo()}, tmp_path / "source")
    for out in (source, tmp_path, tmp_path / "source" / ".." / "source"):
        with pytest.raises(PrepareError, match="is or contains the source"):
            run(source, out)


def test_pictures_made_inside_the_source_are_not_taken_for_photos(tmp_path: Path) -> None:
    source = write_folder({"a.jpg": photo()}, tmp_path / "source")
    assert [run(source, source / "faces").photos for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"workers": 0}])
def test_size_or_workers_below_one_are_an_error(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        run(tmp_path, tmp_path / "out", **wrong)


# --- again, interrupted, together --------------------------------------------------------------------------
def test_second_run_skips_what_is_finished_and_makes_the_rest(out: Path) -> None:
    run(CATS, out)
    kept = (out / "00000001_000.png").stat().st_mtime_ns
    (out / "00000100_002.png").write_bytes(b"half a picture")
    report = run(CATS, out)
    assert report.already_there == {"CAT_00/00000001_000.jpg": "00000001_000.png"}
    assert report.written == {"CAT_01/00000100_002.jpg": "00000100_002.png"}
    assert (out / "00000001_000.png").stat().st_mtime_ns == kept
    assert len(run(CATS, out, size=32).written) == 2


def test_pictures_of_an_earlier_call_that_this_one_would_not_make_are_named(out: Path) -> None:
    files = {"a.jpg": photo((200, 180)), "b.jpg": photo((400, 300))}
    run(files, out)
    for _ in range(2):
        report = run(files, out, size=256)
        assert report.left_over == {"a.jpg": "a.png"}
        assert report.summary().endswith("1 too small, 1 more pictures left from an earlier call")
    assert run(files, out).left_over == {}


def test_pictures_of_another_source_are_neither_taken_for_ones_own_nor_lost(tmp_path: Path) -> None:
    sources = [write_folder({"x.jpg": photo(seed=i)}, tmp_path / name) for i, name in enumerate("AB")]
    out = tmp_path / "faces"
    run(sources[0], out)
    before = {file: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(PrepareError, match=r"faces holds pictures made from .*A: .* such as .*faces/B$"):
        run(sources[1], out)
    (out / "report.json").rename(tmp_path / "report.json")
    with pytest.raises(PrepareError, match=r"x\.png is there already, and no report\.json says"):
        run(sources[1], out)
    (tmp_path / "report.json").rename(out / "report.json")
    assert {file: file.read_bytes() for file in out.iterdir()} == before
    assert run(sources[1], out / "B").written
    assert run(sources[0], out).already_there == {"x.jpg": "x.png"}


def test_photo_that_is_added_takes_no_name_of_an_earlier_picture(out: Path) -> None:
    run({"a.jpg": photo(seed=1)}, out)
    for _ in range(2):
        report = run({"a.jpeg": photo(seed=2)}, out)
        assert report.written | report.already_there == {"a.jpg": "a.png", "a.jpeg": "a-2.png"}


def test_report_file_says_what_became_of_each_photo(out: Path) -> None:
    report = run(CATS | cat("00000004_007.jpg") | {"b.jpg": photo()}, out)
    assert report.summary() == "4 photos: 2 written, 1 outliers, 1 without annotation"
    written = json.loads((out / "report.json").read_text())
    assert written.items() >= {"summary": report.summary(), "size": SIZE, **asdict(report)}.items()


def test_full_disk_ends_the_run_and_leaves_no_part_of_a_picture_or_report(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(file: Path, content: bytes) -> int:
        with file.open("wb") as opened:
            opened.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def run_on_full_disk() -> dict[Path, bytes]:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write_half)
            with pytest.raises(OSError, match="No space left"):
                run(source, out)
        return {file: file.read_bytes() for file in out.iterdir()}

    source = write_folder(CATS, out.parent / "source")
    assert run_on_full_disk() == {}
    run(source, out)
    before = {file: file.read_bytes() for file in out.iterdir()}
    assert run_on_full_disk() == before


def test_three_runs_at_once_do_no_harm(out: Path) -> None:
    source = write_folder({f"{i}.jpg": photo(seed=i) for i in range(40)}, out.parent / "source")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: run(source, out), range(3)))  # which raises what a run raised
    assert len(pictures(out)) == 40


PROGRAM = """
import sys
from catdcgan.data.prepare import prepare_photos
assert not {"tensorflow", "matplotlib", "cv2"} & set(sys.modules)
try:
    prepare_photos(sys.argv[1], sys.argv[2], 64, progress=False)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_killed_run_leaves_whole_pictures_and_the_next_goes_on(number: int, status: int, out: Path) -> None:
    large = photo((1500, 1500), "PNG")
    source = write_folder(dict.fromkeys((f"{i:03}.png" for i in range(100)), large), out.parent / "source")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, source, out])
    while process.poll() is None and len(list(out.glob("[!.]*.png"))) < 5:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(20) == status
    made = {file.name for file in out.glob("[!.]*")} - {"report.json"}
    assert 5 <= len(made) < 100
    for name in made:
        Image.open(out / name).load()
    assert number == signal.SIGKILL or not list(out.glob(".*"))
    report = run(source, out)
    assert set(report.already_there.values()) == made
    assert len(report.written) == 100 - len(made)


def test_real_photos_of_the_cat_dataset(annotated_photos: Path, tmp_path: Path) -> None:
    report = run(annotated_photos, tmp_path, size=128)
    assert report.summary() == "40 photos: 26 written, 11 too small, 3 outliers"
    report = run(annotated_photos, tmp_path / "2", size=128, keep_outliers=True)
    assert list(report.wrong_annotation) == ["00000003_015.jpg"]
