"""Training and `prepare` must use the same files of a folder, and lose no photo without a word."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catdcgan import Dataset
from catdcgan.data.dataset import find_images
from catdcgan.data.prepare import prepare_photos
from catdcgan.errors import InputError
from catdcgan.files import PARTIAL

Seen = tuple[list[str], dict[str, str], list[str]]  # used, unusable and why, passed over


def seen_by_train(folder: Path) -> Seen:
    found = find_images(folder)
    used, passed_over = (
        sorted(str(file.relative_to(folder)) for file in files) for files in (found.files, found.passed_over)
    )
    return used, {str(file.relative_to(folder)): reason for file, reason in found.unusable}, passed_over


def seen_by_prepare(folder: Path) -> Seen:
    report = prepare_photos(folder, folder.parent / "faces", 8, progress=False)
    return sorted(report.written), report.unreadable, sorted(report.passed_over)


both = pytest.mark.parametrize("seen", [seen_by_train, seen_by_prepare])
See = Callable[[Path], Seen]


def fill(folder: Path, *names: str) -> Path:
    """Make a folder of small pictures, whatever their names end in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, "PNG")
    return folder


@both
def test_hidden_files_those_of_the_system_and_those_of_a_run_are_not_used(seen: See, tmp_path: Path) -> None:
    left_out = [
        *(".Trash-1000/files/a.jpg", ".ipynb_checkpoints/a.png", "@eaDir/a.jpg", "b/@eaDir/a.jpg/thumb.jpg"),
        *("$RECYCLE.BIN/$R1.jpg", "__MACOSX/a.jpg", ".a.jpg", "._a.jpg", "Thumbs.db", ".catdcgan.cache"),
        *("runs/001/images/step_0000000.png", "runs/001/run.json", "report.json", "b.cat"),
        f"{PARTIAL}1234.jpg",  # a killed program left it half written
    ]
    drawn = ["cats.png", "cats/cat_00000.png"]  # pictures like any others
    folder = fill(tmp_path / ".cache" / "photos", "a.JPG", *left_out, *drawn)
    assert seen(folder) == (["a.JPG", *drawn], {}, [])
    with pytest.raises(InputError, match=r"001 is a run's folder .it holds run\.json"):
        seen(folder / "runs" / "001")


@both
def test_links_are_followed_once_and_loops_dead_links_and_pipes_do_no_harm(seen: See, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", "a.jpg", "real/b.jpg")
    fill(tmp_path / "other", "c.jpg", "deep/d.jpg")
    links = {"a_link": "real", "loop": ".", "real/up": "..", "around": "../..", "../other/back": "../photos"}
    links |= {"gone": "nowhere", "g.jpg": "x.jpg", "link": "../other", "twice": "../other", "h.jpg": "a.jpg"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    unusable = dict.fromkeys(("g.jpg", "gone"), "No such file or directory")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        unusable["pipe.jpg"] = "not a regular file"
        with pytest.warns(UserWarning, match=r"skipped 1 unreadable: .*pipe\.jpg \(not a regular file\)"):
            Dataset([folder / name for name in ("a.jpg", "pipe.jpg")], 32)
    assert seen(folder) == (["a.jpg", "h.jpg", "link/c.jpg", "link/deep/d.jpg", "real/b.jpg"], unusable, [])


@both
def test_folder_that_may_not_be_read_is_told_as_that(
    seen: See, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scandir = fill(tmp_path / "photos", "a.jpg", "locked/b.jpg"), os.scandir

    def refuse(path: Path) -> Any:  # chmod does not stop root
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert seen(folder) == (["a.jpg"], {"locked": "Permission denied"}, [])
    with pytest.raises(PermissionError, match=r"Permission denied: .*locked"):
        seen(folder / "locked")


@both
def test_files_of_other_kinds_are_counted_by_ending(seen: See, tmp_path: Path) -> None:
    others = ["a.HEIC", "b/c.heic", "jpg"]
    folder = fill(tmp_path / "photos", "a.jpg", "folder.jpg/B.PnG", *others)
    assert seen(folder) == (["a.jpg", "folder.jpg/B.PnG"], {}, others)
    with pytest.warns(UserWarning, match=r"passed over 3 files: 2 \.heic, 1 without ending, in ") as caught:
        Dataset(folder, 32)
    assert len(caught) == 1
