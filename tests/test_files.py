"""What is written must be whole or not there, whoever else writes, and whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from catdcgan.files import PARTIAL, atomic_write, remove_partial


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_file_is_at_its_place_only_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "cat.txt"
    with atomic_write(target) as partial:
        partial.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert everything_in(tmp_path) == ["cat.txt"]


def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "cat.txt"
    target.write_text("old")
    with atomic_write(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_temporary_name_is_beside_the_place_tells_the_format_and_is_known_for_partial(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "cat.tar.PNG") as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".PNG"
        assert partial.name.startswith(PARTIAL)
        partial.touch()


def test_folders_are_made_and_a_name_without_a_folder_is_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_write(tmp_path / "a" / "b" / "cat.txt") as partial:
        partial.touch()
    monkeypatch.chdir(tmp_path)
    with atomic_write("cat.txt") as partial:
        partial.touch()
    assert {Path(name).as_posix() for name in everything_in(tmp_path)} == {
        "a",
        "a/b",
        "a/b/cat.txt",
        "cat.txt",
    }


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("written", [True, False])
def test_whatever_goes_wrong_the_old_file_stays_and_no_partial_one(
    error: BaseException, written: bool, tmp_path: Path
) -> None:
    target = tmp_path / "cat.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_write(target) as partial:
            if written:
                partial.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        write_half()
    assert caught.value is error
    assert target.read_text() == "old"
    assert everything_in(tmp_path) == ["cat.txt"]


def test_rename_that_fails_is_an_error_and_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "cat.txt" / "folder").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cat\.txt"), atomic_write(tmp_path / "cat.txt") as partial:
        partial.write_text("new")
    assert everything_in(tmp_path) == ["cat.txt", str(Path("cat.txt", "folder"))]


def test_error_is_not_hidden_by_one_of_the_cleaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(Path, "unlink", refuse)
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
    assert everything_in(tmp_path) == ["cat.txt"]


def test_name_as_long_as_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    name = "x" * 251 + ".txt"
    with atomic_write(tmp_path / name) as partial:
        partial.touch()
    assert everything_in(tmp_path) == [name]


@pytest.mark.skipif(os.name != "posix", reason="permissions as of POSIX")
def test_others_may_read_the_file_as_any_that_is_made_in_the_usual_way(tmp_path: Path) -> None:
    (tmp_path / "usual.txt").touch()
    with atomic_write(tmp_path / "cat.txt") as partial:
        partial.touch()
    assert (tmp_path / "cat.txt").stat().st_mode == (tmp_path / "usual.txt").stat().st_mode


# --- after a kill ------------------------------------------------------------------------------------------


def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = f"""
import os
from catdcgan.files import atomic_write
with atomic_write({str(tmp_path / "cat.png")!r}) as partial:
    partial.write_text("half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert len(everything_in(tmp_path)) == 1
    (tmp_path / f"{PARTIAL}folder" / "in").mkdir(parents=True)
    (tmp_path / f"{PARTIAL}folder" / "in" / "file").touch()
    others = ["cat.png", f"cat{PARTIAL}1.png", ".hidden", "folder", str(Path("folder", f"{PARTIAL}deeper"))]
    for name in others:
        (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert everything_in(tmp_path) == sorted(others)


@pytest.mark.skipif(os.name != "posix", reason="links take rights on Windows")
def test_link_under_a_partial_name_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "cat.txt").touch()
    (tmp_path / f"{PARTIAL}1").symlink_to("folder")
    (tmp_path / f"{PARTIAL}2").symlink_to("nowhere")
    remove_partial(tmp_path)
    assert everything_in(tmp_path) == ["folder", "folder/cat.txt"]


def test_folder_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    remove_partial(tmp_path / "nowhere")
    assert everything_in(tmp_path) == []
