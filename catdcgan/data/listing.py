"""What a folder of photos holds: the files that are wanted, those that cannot be used, and those passed over.

Left out without a word: hidden files and folders, what systems keep beside pictures, and the folders of runs,
whose sample grids are no photos.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from catdcgan.errors import InputError
from catdcgan.run.folder import RUN_NAME

# Thumbnails, bins and the like of Synology, Windows, macOS and Linux.
OF_THE_SYSTEM = {
    *("@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx", "lost+found"),
    *("thumbs.db", "desktop.ini"),
}


class Found(NamedTuple):
    """What `find_files` found. Each path begins with the folder as it was given."""

    files: dict[Path, int]  # the wanted files, sorted, and their sizes in bytes
    unusable: list[tuple[Path, str]]  # broken links, pipes, folders that may not be read; and the reason
    passed_over: list[Path]  # files of other kinds


def find_files(folder: Path, is_wanted: Callable[[str], bool], leave_out: Iterable[Path] = ()) -> Found:
    """List the files in a folder and the folders in it.

    Links to folders are followed. A folder that is reached in several ways counts once, under its own name
    if that is inside `folder`; a link to a folder around `folder` is a loop, and is not followed.

    Args:
        folder: where to look.
        is_wanted: whether a file is, by its name.
        leave_out: resolved paths of folders not to look into.

    Raises:
        InputError: `folder` is the folder of a run.
        OSError: `folder` cannot be read.
    """
    files: dict[Path, int] = {}
    unusable: list[tuple[Path, str]] = []
    passed_over: list[Path] = []
    seen = {*folder.resolve().parents, *leave_out}
    folders, links = [folder], list[Path]()
    while folders or links:
        parent = folders.pop() if folders else links.pop(0)
        try:
            if (real := parent.resolve()) in seen:
                continue
            seen.add(real)
            with os.scandir(parent) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if parent == folder:
                raise
            unusable.append((parent, str(error.strerror)))
            continue
        if any(entry.name == RUN_NAME for entry in entries):
            if parent == folder:
                raise InputError(
                    f"{folder} is the folder of a run, as it holds {RUN_NAME}: keep the pictures in another"
                )
            continue
        for entry in entries:
            path = parent / entry.name
            if is_left_out(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError as error:
                if entry.is_symlink() or is_wanted(entry.name):
                    unusable.append((path, str(error.strerror)))
                continue
            if stat.S_ISDIR(status.st_mode):
                (links if entry.is_symlink() else folders).append(path)
            elif not is_wanted(entry.name):
                passed_over += [] if goes_with_pictures(entry.name) else [path]
            elif stat.S_ISREG(status.st_mode):
                files[path] = status.st_size
            else:
                unusable.append((path, "not a regular file"))
    return Found(dict(sorted(files.items())), unusable, passed_over)


def is_left_out(name: str) -> bool:
    """Whether a file or folder is left out for its name: it is hidden, or the system's own."""
    return name.startswith(".") or name.casefold() in OF_THE_SYSTEM


def goes_with_pictures(name: str) -> bool:
    """Whether a file is at home beside pictures: an annotation, or the report of `prepare`."""
    return name.endswith(".cat") or name == "report.json"


def passed_over_text(files: Sequence[PurePath]) -> str:
    """Count files by their endings: ``passed over 3 files: 2 .heic, 1 .txt``; of no files, nothing."""
    if not files:
        return ""
    endings = Counter(file.suffix.lower() or "without ending" for file in files)
    counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    return f"passed over {len(files)} file{'s' * (len(files) != 1)}: {counts}"
