"""The second start must be quick, never wrong, and not fail for want of a cache; the first uses all cores."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import warnings
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path
from threading import Barrier, Event, Thread
from time import sleep
from typing import Any

import numpy as np
import pytest
from PIL import Image

from catdcgan import DataError, Dataset
from catdcgan.data import cache
from catdcgan.data import dataset as data
from catdcgan.data.cache import cache_file, cache_key, read_cache, write_cache
from catdcgan.data.dataset import find_images
from catdcgan.data.listing import Found
from catdcgan.data.photos import load_image

SIZE = 32
OLD = 1_600_000_000 * 10**9  # a time of files, in nanoseconds


def put(folder: Path, name: str, gray: int, time: int = OLD) -> Path:
    """A BMP, so that all have the same size in bytes, of one gray and with a time of its own choice."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE, SIZE), (gray,) * 3).save(file)
    os.utime(file, ns=(time, time))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them in a folder."""
    for name, gray in {"a.bmp": 10, "b/c.bmp": 20, "d.bmp": 30}.items():
        put(tmp_path / "cats", name, gray)
    return tmp_path / "cats"


@pytest.fixture
def kept(folder: Path) -> Path:
    """The cache of these images."""
    Dataset(folder, SIZE)
    return cache_file(folder, SIZE, "RGB")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded, as they are."""
    names: list[str] = []

    def note(file: Path, size: int, mode: str) -> np.ndarray:
        names.append(Path(file).name)
        return load_image(file, size, mode)

    monkeypatch.setattr(data, "load_image", note)
    return names


def grays(dataset: Dataset) -> list[int]:
    assert (dataset.images == dataset.images[:, :1, :1, :1]).all(), "an image of `put` has one gray"
    return [int(gray) for gray in dataset.images[:, 0, 0, 0]]


def hidden(folder: Path) -> list[str]:
    """Names of what is in the folder and is no image."""
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".bmp")


# --- a start from the cache ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_second_start_decodes_no_file_and_gives_the_same_images_in_the_same_order(
    mode: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Dataset(folder, SIZE, mode, seed=3)

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("a file was decoded")

    monkeypatch.setattr(data, "load_image", refuse)
    second = Dataset(str(folder), SIZE, mode, seed=3)
    assert grays(second) == [10, 20, 30]
    assert np.array_equal(first.images, second.images)
    assert (second.images.dtype, second.image_mode, second.seed, second.skipped) == (np.uint8, mode, 3, [])
    assert second.images.flags.writeable
    pairs = zip(first.get_batches(2), second.get_batches(2), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_folder_that_moves_takes_its_cache_with_it(folder: Path, kept: Path, decoded: list[str]) -> None:
    assert grays(Dataset(folder.rename(folder.with_name("moved")), SIZE)) == [10, 20, 30]
    assert decoded == []


def test_folder_given_from_within_finds_the_same_cache(
    folder: Path, kept: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert grays(Dataset(".", SIZE)) == [10, 20, 30]
    assert decoded == []


def test_cache_is_one_hidden_file_and_never_taken_for_an_image(folder: Path, kept: Path) -> None:
    assert hidden(folder) == [kept.name]
    assert kept.name.startswith(".")
    assert [file.name for file in find_images(folder).files] == ["a.bmp", "c.bmp", "d.bmp"]


def test_each_size_and_mode_has_its_own_cache_and_puts_out_no_other(folder: Path, decoded: list[str]) -> None:
    settings = [(32, "RGB"), (32, "L"), (48, "RGB")]
    for size, mode in settings * 2:
        assert Dataset(folder, size, mode).shape == (3, size, size, {"RGB": 3, "L": 1}[mode])
    assert len(decoded) == 9


def test_no_cache_is_written_or_read_when_none_is_wanted(folder: Path, decoded: list[str]) -> None:
    for _ in range(2):
        Dataset(folder, SIZE, cache=False)
    assert hidden(folder) == []
    Dataset(folder, SIZE)
    Dataset(folder, SIZE, cache=False)
    assert len(decoded) == 12


def test_list_of_files_leaves_no_cache(folder: Path) -> None:
    Dataset(list(find_images(folder).files), SIZE)
    assert hidden(folder) == []


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
def test_others_who_share_the_folder_can_read_the_cache(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        Dataset(folder, SIZE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache_file(folder, SIZE, "RGB").stat().st_mode) == 0o644


def test_real_faces_from_the_cache_are_those_that_were_decoded(
    real_faces: Path, tmp_path: Path, decoded: list[str]
) -> None:
    for file in list(find_images(real_faces).files)[:20]:
        shutil.copy(file, tmp_path)
    first, second = Dataset(tmp_path, 128), Dataset(tmp_path, 128)
    assert len(decoded) == 20
    assert np.array_equal(first.images, second.images)
    assert all(image.std() > 10 for image in second.images)


# --- out of date ---------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Path], object], list[int]]] = {
    "a file added": (lambda folder: put(folder, "b/d.bmp", 25), [10, 20, 25, 30]),
    "a file removed": (lambda folder: (folder / "b/c.bmp").unlink(), [10, 30]),
    "a file of the same size but another time": (
        lambda folder: put(folder, "d.bmp", 99, OLD + 1),
        [10, 20, 99],
    ),
    "a file put back to an earlier time": (lambda folder: put(folder, "d.bmp", 99, OLD - 1), [10, 20, 99]),
    "a file of the same time but another size": (
        lambda folder: (
            Image.new("RGB", (SIZE, SIZE + 2), (99,) * 3).save(folder / "d.bmp"),
            os.utime(folder / "d.bmp", ns=(OLD, OLD)),
        ),
        [10, 20, 99],
    ),
    "a file renamed": (lambda folder: (folder / "a.bmp").rename(folder / "z.bmp"), [20, 30, 10]),
    "a file moved": (lambda folder: (folder / "a.bmp").rename(folder / "b/z.bmp"), [20, 10, 30]),
    "a folder renamed": (lambda folder: (folder / "b").rename(folder / "bb"), [10, 20, 30]),
    "two files exchanged": (
        lambda folder: (
            (folder / "a.bmp").rename(folder / "x"),
            (folder / "d.bmp").rename(folder / "a.bmp"),
            (folder / "x").rename(folder / "d.bmp"),
            os.utime(folder / "a.bmp", ns=(OLD + 1, OLD + 1)),
        ),
        [30, 20, 10],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_cache_is_made_anew_after(change: str, folder: Path, kept: Path, decoded: list[str]) -> None:
    apply, expected = CHANGES[change]
    apply(folder)
    assert grays(Dataset(folder, SIZE)) == expected
    assert len(decoded) == len(expected)
    decoded.clear()
    assert grays(Dataset(folder, SIZE)) == expected
    assert decoded == []


@pytest.mark.parametrize(("name", "value"), [("FORMAT", 0), ("PIL.__version__", "1.0")])
def test_cache_of_another_version_is_made_anew(
    name: str, value: object, folder: Path, kept: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"catdcgan.data.cache.{name}", value)
    Dataset(folder, SIZE)
    assert len(decoded) == 3


@pytest.mark.parametrize(("size", "mode"), [(16, "RGB"), (48, "RGB"), (32, "L")])
def test_cache_under_the_name_of_other_settings_is_made_anew(
    size: int, mode: str, folder: Path, kept: Path
) -> None:
    kept.rename(cache_file(folder, size, mode))
    assert grays(Dataset(folder, size, mode)) == [10, 20, 30]


def test_file_that_changes_while_it_is_decoded_is_decoded_again_next_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_after(file: Path, size: int, mode: str) -> np.ndarray:
        image = load_image(file, size, mode)
        put(folder, "d.bmp", 99, OLD + 1)
        return image

    with monkeypatch.context() as patch:
        patch.setattr(data, "find_images", lambda folder: Found({folder / "d.bmp": 0}, [], []))
        patch.setattr(data, "load_image", change_after)
        assert grays(Dataset(folder, SIZE)) == [30]
        patch.setattr(data, "load_image", load_image)
        assert grays(Dataset(folder, SIZE)) == [99]


def test_file_that_goes_while_the_folder_is_listed_is_skipped_and_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_images(folder)
    found.files[folder / "gone.bmp"] = 0
    monkeypatch.setattr(data, "find_images", lambda _: found)
    with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*gone\.bmp"):
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert hidden(folder) == []


# --- damaged -------------------------------------------------------------------------------------------


def flip_byte(position: int) -> Callable[[bytes], bytes]:
    def flip(content: bytes) -> bytes:
        at = position % len(content)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


PIXELS = 3 * SIZE * SIZE * 3
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "an image lost": lambda content: content[: -SIZE * SIZE * 3],
    "only the key": lambda content: content[:65],
    "only the first line": lambda content: content[:74],
    "no pixels": lambda content: content[:-PIXELS],
    "a byte more": lambda content: content + b"\0",
    "an image more": lambda content: content + bytes(SIZE * SIZE * 3),
    "twice": lambda content: content * 2,
    "zeros": lambda content: bytes(len(content)),
    "no line ends": lambda content: content.replace(b"\n", b" "),
    "a bit in the key": flip_byte(3),
    "a bit in the checksum": flip_byte(67),
    "a bit in the list of skipped files": flip_byte(75),
    "a bit in the first pixel": flip_byte(-PIXELS),
    "a bit in the last pixel": flip_byte(-1),
    "a block of zeros": lambda content: content[:-5000] + bytes(4096) + content[-904:],
    "an image": lambda _: b"\xff\xd8\xff\xe0 this is a JPEG",
    "a pickle": lambda _: b"\x80\x04\x95.",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_made_anew_silently(
    damage: str, folder: Path, kept: Path, decoded: list[str]
) -> None:
    content = kept.read_bytes()
    kept.write_bytes(DAMAGE[damage](content))
    assert kept.read_bytes() != content
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]  # pytest makes an error of a warning
    assert len(decoded) == 3
    assert kept.read_bytes() == content


def test_cache_of_another_folder_is_not_taken(
    folder: Path, kept: Path, tmp_path: Path, decoded: list[str]
) -> None:
    other = put(tmp_path / "dogs", "a.bmp", 77).parent
    shutil.copy(kept, other)
    assert grays(Dataset(other, SIZE)) == [77]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_under_the_name_of_the_cache_does_not_stop_the_start(folder: Path) -> None:
    os.mkfifo(cache_file(folder, SIZE, "RGB"))
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_folder_under_the_name_of_the_cache_costs_a_warning_and_leaves_nothing(folder: Path) -> None:
    cache_file(folder, SIZE, "RGB").mkdir()
    with pytest.warns(UserWarning, match="want of a cache"):
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert hidden(folder) == []


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="root may read any file")
def test_cache_that_may_not_be_read_is_made_anew(folder: Path, kept: Path) -> None:
    kept.chmod(0)
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert kept.stat().st_mode & 0o400


def test_cache_that_the_disk_cannot_read_is_passed_over(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cache.np, "empty", fail)
    assert read_cache(kept, kept.read_bytes()[:64].decode(), (SIZE, SIZE, 3)) is None


# --- where nothing can be written ----------------------------------------------------------------------


def fails_with(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_read_only_folder_costs_one_warning_and_no_more(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", fails_with(number))
    with pytest.warns(UserWarning, match=f"want of a cache: .*{os.strerror(number)}") as caught:
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "\n" not in str(caught[0].message)
    assert hidden(folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A disk of 64 KiB: it holds the images that `put` makes, but no cache of them at size 128."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a disk takes root and Linux")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_real_read_only_disk_costs_one_warning_and_still_gives_its_cache(small_disk: Path) -> None:
    put(small_disk, "a.bmp", 10)
    Dataset(small_disk, SIZE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert grays(Dataset(small_disk, SIZE)) == [10]  # there is one already: nothing to say
    with pytest.warns(UserWarning, match="want of a cache: .*Read-only"):
        assert grays(Dataset(small_disk, SIZE, "L")) == [10]


def test_real_full_disk_costs_one_warning_and_is_left_with_the_room_it_had(small_disk: Path) -> None:
    for number in range(3):
        put(small_disk, f"{number}.bmp", number)
    free = shutil.disk_usage(small_disk).free
    with pytest.warns(UserWarning, match="want of a cache: .*No space left") as caught:
        assert grays(Dataset(small_disk, 128)) == [0, 1, 2]
    assert len(caught) == 1
    assert hidden(small_disk) == []
    assert shutil.disk_usage(small_disk).free == free


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="root may write anywhere")
def test_folder_without_permission_to_write_costs_one_warning(folder: Path) -> None:
    folder.chmod(0o555)
    with pytest.warns(UserWarning, match="want of a cache"):
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    folder.chmod(0o755)


class Torn:
    """A file in which only the first write succeeds."""

    def __init__(self, file: BufferedWriter, error: BaseException) -> None:
        self.file, self.error, self.writes = file, error, 0

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.writes += 1
        if self.writes > 1:
            raise self.error
        return self.file.write(content)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_write_that_fails_midway_leaves_the_old_cache_and_nothing_else(
    error: BaseException, folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept.read_bytes()
    files = list(find_images(folder).files)
    open_file = Path.open

    def torn(file: Path, mode: str) -> Torn:
        return Torn(open_file(file, mode), error)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", torn)
    with pytest.raises(type(error)):
        write_cache(kept, cache_key(folder, files, SIZE, "RGB") or "", np.zeros((3, 2, 2, 3), np.uint8), [])
    monkeypatch.undo()
    assert hidden(folder) == [kept.name]
    assert kept.read_bytes() == before


def test_rename_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", fails_with(errno.EACCES))
    with pytest.warns(UserWarning, match="want of a cache"):
        Dataset(folder, SIZE)
    assert hidden(folder) == []


def test_two_writers_do_each_other_no_harm(folder: Path, kept: Path) -> None:
    key = kept.read_bytes()[:64].decode()
    versions = [np.full((3, 64, 64, 3), gray, np.uint8) for gray in (1, 2)]
    seen: set[int] = set()
    troubles: list[object] = []

    def write(images: np.ndarray) -> None:
        try:
            for _ in range(50):
                write_cache(kept, key, images, [])
        except OSError as error:
            troubles.append(error)

    write(versions[0])
    writers = [Thread(target=write, args=(images,)) for images in versions]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = read_cache(kept, key, (64, 64, 3))
        if found is None or len(np.unique(found[0])) != 1:
            troubles.append(found)
        else:
            seen.add(int(found[0].flat[0]))
    assert troubles == []
    assert seen <= {1, 2}
    assert hidden(folder) == [kept.name]


# --- unreadable files ----------------------------------------------------------------------------------


def test_unreadable_files_are_reported_again_with_the_same_words(folder: Path, decoded: list[str]) -> None:
    (folder / "a2.png").write_text("this is no picture")
    (folder / "z.png").touch()
    said = []
    for start in range(2):
        with pytest.warns(UserWarning, match="skipped 2 unreadable") as caught:
            dataset = Dataset(folder, SIZE)
        assert caught[0].filename == __file__
        said.append((str(caught[0].message), dataset.skipped, grays(dataset)))
        assert len(decoded) == 5, f"start {start}"
    assert said[0] == said[1]
    assert [file for file, _ in said[0][1]] == [folder / "a2.png", folder / "z.png"]


def test_unreadable_file_with_a_name_that_is_no_text_is_reported_again(folder: Path) -> None:
    try:
        broken = folder / os.fsdecode(b"caf\xe9.png")
        broken.touch()
    except (OSError, UnicodeError):
        pytest.skip("this system's names are all text")
    for _ in range(2):
        with pytest.warns(UserWarning, match="skipped 1"):
            assert [file for file, _ in Dataset(folder, SIZE).skipped] == [broken]


def test_file_that_is_refused_today_and_allowed_tomorrow_is_not_left_out_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, size: int, mode: str) -> np.ndarray:
        if Path(file).name == "d.bmp":
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return load_image(file, size, mode)

    monkeypatch.setattr(data, "load_image", refuse)
    with pytest.warns(UserWarning, match=r"skipped 1 .*Permission denied"):
        assert grays(Dataset(folder, SIZE)) == [10, 20]
    monkeypatch.undo()
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_nothing_is_kept_of_a_folder_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for _ in range(2):
        with pytest.raises(DataError, match="none of the 1 images"):
            Dataset(tmp_path, SIZE)
    assert hidden(tmp_path) == ["a.png"]


# --- all cores -----------------------------------------------------------------------------------------


def test_as_many_images_are_decoded_at_a_time_as_there_are_cores(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = Barrier(3)

    def meet(file: Path, size: int, mode: str) -> np.ndarray:
        meeting.wait(timeout=10)  # which fails unless three come
        return load_image(file, size, mode)

    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(data, "load_image", meet)
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_images_that_are_ready_out_of_turn_keep_the_order_of_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_is_ready = Event()

    def wait_for_last(file: Path, size: int, mode: str) -> np.ndarray:
        image = load_image(file, size, mode)
        assert last_is_ready.wait(10) if file.name != "d.bmp" else not last_is_ready.set()
        return image

    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(data, "load_image", wait_for_last)
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_unreadable_files_among_the_others_shift_no_image(folder: Path) -> None:
    for name in ("0.png", "b/c2.png", "z.png"):
        (folder / name).write_text("this is no picture")
    # Pillow takes this for a bomb, with an error of its own kind.
    bomb = bytearray((folder / "a.bmp").read_bytes())
    bomb[18:26] = 2 * (20000).to_bytes(4, "little")  # width and height
    (folder / "a2.png").write_bytes(bomb)
    with pytest.warns(UserWarning, match="skipped 4 unreadable"):
        dataset = Dataset(folder, SIZE)
    assert grays(dataset) == [10, 20, 30]
    assert [file.name for file, _ in dataset.skipped] == ["0.png", "a2.png", "c2.png", "z.png"]


def test_interrupted_reading_stops_soon_and_keeps_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def interrupt(file: Path, size: int, mode: str) -> np.ndarray:
        started.append(file)
        if len(started) == 1:
            raise KeyboardInterrupt
        sleep(0.02)
        return load_image(file, size, mode)

    for number in range(100):
        put(folder, f"e{number}.bmp", number)
    monkeypatch.setattr(data, "load_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Dataset(folder, SIZE)
    assert len(started) < 100
    assert hidden(folder) == []


# --- large photos --------------------------------------------------------------------------------------


def photo(side: tuple[int, int], grayscale: bool = False) -> Image.Image:
    """Soft shapes with fine grain, as a camera gives."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).resize(
        side, Image.Resampling.BICUBIC
    )
    grain = random.normal(0, 8, (side[1], side[0], 3))
    image = Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
    return image.convert("L") if grayscale else image


@pytest.mark.parametrize("side", [(1600, 1200), (1203, 1607)])
@pytest.mark.parametrize("grayscale", [False, True])
def test_large_photo_read_at_reduced_size_looks_the_same(
    side: tuple[int, int], grayscale: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(side, grayscale).save(tmp_path / "a.jpg", quality=92)
    reduced = load_image(tmp_path / "a.jpg", 64).astype(float)
    monkeypatch.setattr(Image.Image, "draft", lambda *_: None)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    whole = load_image(tmp_path / "a.jpg", 64).astype(float)
    assert not np.array_equal(reduced, whole), "the photo was read whole"
    assert 10 * np.log10(255**2 / np.mean((reduced - whole) ** 2)) > 40  # dB; JPEG at quality 92 has about 38


def test_photo_of_up_to_four_times_the_size_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo((520, 400)).save(tmp_path / "a.jpg", quality=92)
    image = load_image(tmp_path / "a.jpg", 64)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: None)
    assert np.array_equal(image, load_image(tmp_path / "a.jpg", 64))


# --- progress ------------------------------------------------------------------------------------------


def test_reading_that_takes_long_shows_a_bar_that_counts_the_images(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = data.tqdm
    monkeypatch.setattr(
        data, "tqdm", lambda *arguments, **options: bar(*arguments, **(options | {"delay": 0}))
    )
    Dataset(folder, SIZE)
    shown = capsys.readouterr().err
    assert "reading images: 100%" in shown
    assert "3/3" in shown
    Dataset(folder, SIZE)
    assert capsys.readouterr().err == ""


def test_quick_reading_shows_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Dataset(folder, SIZE)
    assert "".join(capsys.readouterr()) == ""


def test_key_says_nothing_of_where_the_folder_is(folder: Path, kept: Path) -> None:
    assert str(folder).encode() not in kept.read_bytes()
    assert json.loads(kept.read_bytes().split(b"\n")[1]) == []
