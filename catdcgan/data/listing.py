"""Lists the files in a folder of photos: the wanted ones, the unusable ones, and those of other kinds.

Silently ignored: hidden files and folders, files that operating systems keep beside pictures, and the folders
of runs, whose sample grids are not photos.
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

REPORT = "report.json"  # what `prepare` writes beside its pictures
ANNOTATION_SUFFIX = ".cat"  # follows the name of the photo, ending included
# Thumbnails, trash folders and the like of Synology, Windows, macOS and Linux.
SYSTEM_FILES = {
    *("@eadir", "#recycle", "$recycle.bin", "system volume information", "__macosx", "lost+found"),
    *("thumbs.db", "desktop.ini"),
}


class Found(NamedTuple):
    """The result of `find_files`. Each path begins with the folder as given."""

    files: dict[Path, int]  # the wanted files, sorted, and their sizes in bytes
    unusable: list[tuple[Path, str]]  # broken links, pipes, unreadable folders; with the reason
    passed_over: list[Path]  # files of other kinds


def find_files(folder: Path, is_wanted: Callable[[str], bool], leave_out: Iterable[Path] = ()) -> Found:
    """List the files in a folder and its subfolders.

    Links to folders are followed. A folder that can be reached in several ways is listed once, under its own
    name if that is inside `folder`. A link to a parent of `folder` is a loop, and is not followed.

    Args:
        folder: the folder to search.
        is_wanted: tells from a file's name whether the file is wanted.
        leave_out: resolved paths of folders to ignore.

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
                    f"{folder} is a run's folder (it holds {RUN_NAME}): keep the pictures elsewhere"
                )
            continue
        for entry in entries:
            path = parent / entry.name
            if is_ignored(entry.name):
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


def is_ignored(name: str) -> bool:
    """Whether a file or folder is ignored because of its name: it is hidden, or a system's own."""
    return name.startswith(".") or name.casefold() in SYSTEM_FILES


def goes_with_pictures(name: str) -> bool:
    """Whether a file belongs beside pictures: an annotation, or the report of `prepare`."""
    return is_annotation(name) or name == REPORT


def annotation_of(photo: str) -> str:
    """The name of a photo's annotation."""
    return f"{photo}{ANNOTATION_SUFFIX}"


def is_annotation(name: str) -> bool:
    """Whether a file is an annotation of the CAT dataset, by its name."""
    return name.endswith(ANNOTATION_SUFFIX)


def passed_over_text(files: Sequence[PurePath]) -> str:
    """Count files by suffix: ``passed over 3 files: 2 .heic, 1 .txt``; an empty text for no files."""
    if not files:
        return ""
    endings = Counter(file.suffix.lower() or "without ending" for file in files)
    counts = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    return f"passed over {len(files)} file{'s' * (len(files) != 1)}: {counts}"
