"""The second start must be quick, never wrong, and not fail for want of a cache; the first uses all cores."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from threading import Event, Thread
from time import sleep
from unittest.mock import Mock

import numpy as np
import PIL
import pytest
from PIL import Image
from tqdm import tqdm

from catdcgan import Dataset
from catdcgan.data import cache
from catdcgan.data import dataset as data
from catdcgan.data.cache import cache_file, read_cache, write_cache
from catdcgan.data.dataset import find_images
from catdcgan.data.photos import load_image

SIZE = 32
OLD = 1_600_000_000 * 10**9  # a time of files, in nanoseconds
Patch = pytest.MonkeyPatch


def put(folder: Path, name: str, gray: int, time: int = OLD, height: int = SIZE) -> None:
    """A BMP, so that all have the same size in bytes, of one gray and with a time of its own choice."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIZE, height), (gray,) * 3).save(file)
    os.utime(file, ns=(time, time))


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


def after_decoding(monkeypatch: Patch, act: Callable[[Path], object]) -> None:
    """Do something after each file that is decoded."""

    def decode(file: Path, size: int, mode: str) -> np.ndarray:
        image = load_image(file, size, mode)
        act(file)
        return image

    monkeypatch.setattr(data, "load_image", decode)


@pytest.fixture
def decoded(monkeypatch: Patch) -> list[Path]:
    """The files that were decoded."""
    files: list[Path] = []
    after_decoding(monkeypatch, files.append)
    return files


def grays(dataset: Dataset) -> list[int]:
    assert (dataset.images == dataset.images[:, :1, :1, :1]).all(), "an image of `put` has one gray"
    return list(dataset.images[:, 0, 0, 0].tolist())


def hidden(folder: Path) -> list[str]:
    """Names of what is in the folder and is no image."""
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and file.suffix != ".bmp")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_second_start_decodes_no_file_and_gives_the_same_images_wherever_the_folder_is_now(
    mode: str, folder: Path, decoded: list[Path], monkeypatch: Patch
) -> None:
    first = Dataset(folder, SIZE, mode, seed=3)
    assert hidden(folder) == [cache_file(folder, SIZE, mode).name]
    decoded.clear()
    moved = folder.rename(folder.with_name("moved"))
    monkeypatch.chdir(moved)
    for source in (moved, str(moved), "."):
        second = Dataset(source, SIZE, mode, seed=3)
        assert grays(second) == [10, 20, 30]
        assert np.array_equal(first.images, second.images)
        assert second.images.dtype == np.uint8
        assert (second.image_mode, second.seed, second.skipped) == (mode, 3, [])
        assert second.images.flags.writeable
        assert np.array_equal(next(first.get_batches(2, epoch=0)), next(second.get_batches(2, epoch=0)))
    assert decoded == []


def test_each_size_and_mode_has_a_cache_of_its_own(folder: Path, decoded: list[Path]) -> None:
    settings = [(32, "RGB"), (32, "L"), (48, "RGB")]
    for size, mode in settings * 2:
        assert Dataset(folder, size, mode).shape == (3, size, size, {"RGB": 3, "L": 1}[mode])
    assert len(decoded) == 9
    for size, mode in settings[1:]:  # one under the name of another is told by its key
        shutil.copy(cache_file(folder, 32, "RGB"), cache_file(folder, size, mode))
        assert grays(Dataset(folder, size, mode)) == [10, 20, 30]


def test_no_cache_is_written_or_read_when_none_is_wanted(folder: Path, decoded: list[Path]) -> None:
    Dataset(folder, SIZE, cache=False)
    Dataset(list(find_images(folder).files), SIZE)
    assert hidden(folder) == []
    Dataset(folder, SIZE)
    Dataset(folder, SIZE, cache=False)
    assert len(decoded) == 12


def move(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


def exchange(folder: Path) -> None:
    for old, new in (("a.bmp", "x"), ("d.bmp", "a.bmp"), ("x", "d.bmp")):
        move(folder, old, new)
    os.utime(folder / "a.bmp", ns=(OLD + 1, OLD + 1))


CHANGES: dict[str, tuple[Callable[[Path, Patch], object], list[int]]] = {
    "a file added": (lambda folder, _: put(folder, "b/d.bmp", 25), [10, 20, 25, 30]),
    "a file removed": (lambda folder, _: (folder / "b/c.bmp").unlink(), [10, 30]),
    "a later file of the same size": (lambda folder, _: put(folder, "d.bmp", 99, OLD + 1), [10, 20, 99]),
    "an earlier file of the same size": (lambda folder, _: put(folder, "d.bmp", 99, OLD - 1), [10, 20, 99]),
    "a larger file of the same time": (lambda folder, _: put(folder, "d.bmp", 99, OLD, 34), [10, 20, 99]),
    "a file renamed": (lambda folder, _: move(folder, "a.bmp", "z.bmp"), [20, 30, 10]),
    "a file moved": (lambda folder, _: move(folder, "a.bmp", "b/z.bmp"), [20, 10, 30]),
    "a folder renamed": (lambda folder, _: move(folder, "b", "bb"), [10, 20, 30]),
    "two files exchanged": (lambda folder, _: exchange(folder), [30, 20, 10]),
    "another format of the cache": (lambda _, patch: patch.setattr(cache, "FORMAT", 0), [10, 20, 30]),
    "another Pillow": (lambda _, patch: patch.setattr(PIL, "__version__", "1.0"), [10, 20, 30]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_cache_is_made_anew_after(change: str, kept: Path, decoded: list[Path], monkeypatch: Patch) -> None:
    apply, expected = CHANGES[change]
    apply(kept.parent, monkeypatch)
    for _ in range(2):
        assert grays(Dataset(kept.parent, SIZE)) == expected
        assert len(decoded) == len(expected)  # by the first start alone


def test_file_that_changes_while_decoded_is_decoded_again_next_time(folder: Path, monkeypatch: Patch) -> None:
    def change(file: Path) -> None:
        if file.name == "d.bmp":
            put(folder, "d.bmp", 99, OLD + 1)

    after_decoding(monkeypatch, change)
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    monkeypatch.undo()
    assert grays(Dataset(folder, SIZE)) == [10, 20, 99]


def test_nothing_is_kept_if_a_file_goes_while_the_folder_is_listed(folder: Path, monkeypatch: Patch) -> None:
    found = find_images(folder)
    found.files[folder / "gone.bmp"] = 0
    monkeypatch.setattr(data, "find_images", lambda _: found)
    with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*gone\.bmp"):
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert hidden(folder) == []


def flip_bit(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at:][1:]


IMAGE = SIZE * SIZE * 3
# The key ends at byte 64, the checksum at 73, the list of skipped files at 76; then come three images.
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    **{f"cut at {at}": itemgetter(slice(at)) for at in (0, 65, 74, -3 * IMAGE, -IMAGE, -1)},
    **{f"bit at {at}": partial(flip_bit, at=at) for at in (3, 67, 75, -3 * IMAGE, -1)},
    "a byte more": lambda content: content + b"\0",
    "an image more": lambda content: content + bytes(IMAGE),
    "zeros": lambda content: bytes(len(content)),
    "a block of zeros": lambda content: content[:-5000] + bytes(4096) + content[-904:],
    "no line ends": lambda content: content.replace(b"\n", b" "),
    "a pickle": lambda _: b"\x80\x04\x95.",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cache_is_made_anew_silently(damage: str, kept: Path, decoded: list[Path]) -> None:
    content = kept.read_bytes()
    kept.write_bytes(DAMAGE[damage](content))
    assert kept.read_bytes() != content
    assert grays(Dataset(kept.parent, SIZE)) == [10, 20, 30]  # pytest makes an error of a warning
    assert len(decoded) == 3
    assert kept.read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_under_the_name_of_the_cache_does_not_stop_the_start(folder: Path) -> None:
    os.mkfifo(cache_file(folder, SIZE, "RGB"))
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def fails_with(number: int) -> Mock:
    return Mock(side_effect=OSError(number, os.strerror(number)))


def test_cache_that_the_disk_cannot_read_is_passed_over(folder: Path, kept: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(np, "empty", fails_with(errno.EIO))
    assert read_cache(kept, kept.read_bytes()[:64].decode(), (SIZE, SIZE, 3)) is None


TROUBLES: dict[str, Callable[[Path, Patch], object]] = {
    "Read-only": lambda _, patch: patch.setattr(Path, "open", fails_with(errno.EROFS)),
    "Permission denied": lambda _, patch: patch.setattr(Path, "open", fails_with(errno.EACCES)),
    "not permitted": lambda _, patch: patch.setattr(Path, "replace", fails_with(errno.EPERM)),
    "directory": lambda folder, _: cache_file(folder, SIZE, "RGB").mkdir(),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_cache_that_cannot_be_written_costs_one_warning_and_leaves_nothing(
    trouble: str, folder: Path, monkeypatch: Patch
) -> None:
    TROUBLES[trouble](folder, monkeypatch)
    with pytest.warns(UserWarning, match=f"want of a cache: .*{trouble}") as caught:
        assert grays(Dataset(folder, SIZE)) == [10, 20, 30]
    assert [warning.filename for warning in caught] == [__file__]
    assert "\n" not in str(caught[0].message)
    assert hidden(folder) == []


def test_real_disk_that_is_full_or_read_only_costs_one_warning_and_keeps_its_room(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a disk takes root and Linux")
    try:
        for number in range(3):
            put(tmp_path, f"{number}.bmp", number)
        Dataset(tmp_path, SIZE)
        files, free = hidden(tmp_path), shutil.disk_usage(tmp_path).free
        with pytest.warns(UserWarning, match="want of a cache: .*No space left") as caught:
            assert grays(Dataset(tmp_path, 128)) == [0, 1, 2]
        assert len(caught) == 1
        assert (hidden(tmp_path), shutil.disk_usage(tmp_path).free) == (files, free)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        assert grays(Dataset(tmp_path, SIZE)) == [0, 1, 2]  # there is a cache already: nothing to say
        with pytest.warns(UserWarning, match="want of a cache: .*Read-only"):
            assert grays(Dataset(tmp_path, SIZE, "L")) == [0, 1, 2]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_two_writers_do_each_other_no_harm(folder: Path, kept: Path) -> None:
    key, found = kept.read_bytes()[:64].decode(), []

    def write(gray: int) -> None:
        for _ in range(50):
            write_cache(kept, key, np.full((3, 64, 64, 3), gray, np.uint8), [])

    write(1)
    writers = [Thread(target=write, args=(gray,)) for gray in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):  # pytest makes an error of one in a thread
        found.append(read_cache(kept, key, (64, 64, 3)))
    assert all(found), "it is whole at any moment"
    assert {tuple(np.unique(images)) for images, _ in filter(None, found)} <= {(1,), (2,)}
    assert hidden(folder) == [kept.name]


def test_unreadable_files_shift_no_image_and_are_reported_again_with_the_same_words(
    folder: Path, decoded: list[Path]
) -> None:
    broken = [folder / name for name in ("0.png", "a2.png", "b/c2.png", "z.png")]
    for file in broken:
        file.write_text("this is no picture")
    # Pillow takes this for a bomb, with an error of its own kind.
    bomb = bytearray((folder / "a.bmp").read_bytes())
    bomb[18:26] = 2 * (20000).to_bytes(4, "little")  # width and height
    broken[1].write_bytes(bomb)
    with suppress(OSError, UnicodeError):  # where all names are text
        (folder / os.fsdecode(b"z\xe9.png")).touch()
        broken.append(folder / os.fsdecode(b"z\xe9.png"))
    said = []
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"skipped {len(broken)} unreadable") as caught:
            dataset = Dataset(folder, SIZE)
        assert caught[0].filename == __file__
        said.append((str(caught[0].message), dataset.skipped, grays(dataset)))
        assert len(decoded) == 3  # by the first start
    assert said[0] == said[1]
    assert [file for file, _ in dataset.skipped] == broken
    assert grays(dataset) == [10, 20, 30]


def test_file_refused_today_and_allowed_tomorrow_is_read_then(folder: Path, monkeypatch: Patch) -> None:
    refuse = fails_with(errno.EACCES)
    after_decoding(monkeypatch, lambda file: file.name == "d.bmp" and refuse())
    with pytest.warns(UserWarning, match=r"skipped 1 .*Permission denied"):
        assert grays(Dataset(folder, SIZE)) == [10, 20]
    monkeypatch.undo()
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_images_are_decoded_on_all_cores_in_the_order_of_the_files(folder: Path, monkeypatch: Patch) -> None:
    last_is_ready = Event()

    def wait_for_last(file: Path) -> None:
        if file.name == "d.bmp":
            last_is_ready.set()
        assert last_is_ready.wait(10)

    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    after_decoding(monkeypatch, wait_for_last)
    assert grays(Dataset(folder, SIZE)) == [10, 20, 30]


def test_interrupted_reading_stops_soon_and_keeps_nothing(folder: Path, monkeypatch: Patch) -> None:
    started = []

    def interrupt(file: Path) -> None:
        started.append(file)
        if len(started) == 1:
            raise KeyboardInterrupt
        sleep(0.02)

    for number in range(100):
        put(folder, f"e{number}.bmp", number)
    after_decoding(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        Dataset(folder, SIZE)
    assert len(started) < 100
    assert hidden(folder) == []


def test_bar_counts_the_images_of_a_reading_that_takes_long_and_of_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    Dataset(folder, SIZE)
    monkeypatch.setattr(data, "tqdm", lambda *given, **options: tqdm(*given, **options | {"delay": 0}))
    Dataset(folder, SIZE)
    assert "".join(capsys.readouterr()) == ""
    Dataset(folder, SIZE, cache=False)
    shown = capsys.readouterr().err
    assert "reading images: 100%" in shown
    assert "3/3" in shown
