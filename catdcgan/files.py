"""Atomic writes: under a temporary name in the same folder, then renamed. And checks before reading."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from catdcgan.errors import InputError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # errors of a full disk, a limit on a file's size, a quota
PARTIAL = ".partial-"  # prefix of the names of files that are still being written


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, and rename it to `path` if the block succeeds.

    If it fails, or on Ctrl-C, the temporary file is removed and an existing file at `path` is kept. Each
    writer gets its own temporary name. It has the suffix of `path`, from which Pillow chooses the format. The
    folder of `path` is created if needed.

    Raises:
        OSError: the folder cannot be created, or the file cannot be renamed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not built from the target's name: if that is as long as the system allows, a longer one would fail.
    partial = target.with_name(f"{PARTIAL}{secrets.token_hex(4)}{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except BaseException as error:
        with suppress(OSError):  # the original error matters more
            partial.unlink()
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(partial), partial):
            error.filename = str(target)  # a full disk names no file, and nobody knows the temporary one
        raise


def remove_partial(folder: Path) -> None:
    """Remove the half-written files and folders (prefix `PARTIAL`) that a killed program left in a folder.

    Subfolders are not searched. Call this only where no other program is writing.

    Raises:
        OSError: something cannot be removed.
    """
    for leftover in folder.glob(f"{PARTIAL}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def refuse_special(*paths: Path) -> None:
    """Refuse named pipes, devices and sockets in the place of files: reading one could go on forever.

    Raises:
        InputError: one of the paths is something else than a file, a folder, or nothing.
    """
    for path in paths:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path} is a pipe or a device, not a file: remove it, or choose another place")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON from a file that anybody may have written.

    Raises:
        ValueError: it is not text, not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
