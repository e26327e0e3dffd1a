"""What is written must be whole or not there, whoever else writes, and whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest
from pictures import files

from catdcgan.files import PARTIAL, atomic_write, remove_partial


@pytest.mark.parametrize("before", [None, "old"])
def test_file_is_at_its_place_only_once_it_is_whole(before: str | None, tmp_path: Path) -> None:
    target = tmp_path / "cat.txt"
    if before:
        target.write_text(before)
    with atomic_write(target) as partial:
        partial.write_text("new")
        assert (target.read_text() if target.exists() else None) == before
    assert target.read_text() == "new"
    assert list(files(tmp_path)) == ["cat.txt"]


def test_temporary_name_is_beside_the_place_tells_the_format_and_is_known_for_partial(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "cat.tar.PNG") as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".PNG"
        assert partial.name.startswith(PARTIAL)
        partial.touch()


def test_folders_are_made_and_a_name_without_a_folder_is_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a" / "b" / "cat.txt", "cat.txt"):
        with atomic_write(path) as partial:
            partial.touch()
    assert list(files(tmp_path)) == ["a", "a/b", "a/b/cat.txt", "cat.txt"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("written", ["", "half"])
def test_whatever_goes_wrong_the_old_file_stays_and_no_partial_one(
    error: BaseException, written: str, tmp_path: Path
) -> None:
    (tmp_path / "cat.txt").write_text("old")

    def write_half() -> None:
        with atomic_write(tmp_path / "cat.txt") as partial:
            if written:
                partial.write_text(written)
            raise error

    with pytest.raises(type(error)) as caught:
        write_half()
    assert caught.value is error
    assert (tmp_path / "cat.txt").read_text() == "old"
    assert list(files(tmp_path)) == ["cat.txt"]


def test_rename_that_fails_is_an_error_and_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "cat.txt" / "folder").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cat\.txt"), atomic_write(tmp_path / "cat.txt") as partial:
        partial.write_text("new")
    assert list(files(tmp_path)) == ["cat.txt", "cat.txt/folder"]


def test_error_is_not_hidden_by_one_of_the_cleaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=PermissionError("in use")))
    with pytest.raises(ValueError, match="no such format"), atomic_write(tmp_path / "cat.txt"):
        raise ValueError("no such format")


def test_two_who_write_the_same_file_at_once_each_write_a_whole_one(tmp_path: Path) -> None:
    target = tmp_path / "cat.txt"
    with ExitStack() as writers:
        first, second = (writers.enter_context(atomic_write(target)) for _ in range(2))
        first.write_text("first")
        second.write_text("second")
        assert (first.read_text(), second.read_text()) == ("first", "second")
    assert target.read_text() == "first"  # the second was entered last, so renamed before it
    assert list(files(tmp_path)) == ["cat.txt"]


@pytest.mark.skipif(os.name != "posix", reason="permissions as of POSIX")
def test_longest_name_can_be_written_and_others_may_read_the_file_as_usual(tmp_path: Path) -> None:
    usual, longest = tmp_path / "usual.txt", tmp_path / f"{'x' * 251}.txt"
    usual.touch()
    with atomic_write(longest) as partial:
        partial.touch()
    assert longest.stat().st_mode == usual.stat().st_mode


# --- after a kill ------------------------------------------------------------------------------------------
def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    remove_partial(tmp_path / "nowhere")  # a folder that is not there has nothing to remove
    code = f"""
import os
from catdcgan.files import atomic_write
with atomic_write({str(tmp_path / "cat.png")!r}) as partial:
    partial.write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert len(files(tmp_path)) == 1
    others = ["cat.png", f"cat{PARTIAL}1.png", ".hidden", f"folder/{PARTIAL}deeper"]
    for name in [*others, f"{PARTIAL}folder/in/file"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert list(files(tmp_path)) == sorted([*others, "folder"])


@pytest.mark.skipif(os.name != "posix", reason="links take rights on Windows")
def test_link_under_a_partial_name_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "cat.txt").touch()
    (tmp_path / f"{PARTIAL}1").symlink_to("folder")
    (tmp_path / f"{PARTIAL}2").symlink_to("nowhere")
    remove_partial(tmp_path)
    assert list(files(tmp_path)) == ["folder", "folder/cat.txt"]
