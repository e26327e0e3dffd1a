"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"  # how the name of a file begins that is still being written


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, and rename it to `path` if nothing went wrong.

    If something did, Ctrl-C too, the temporary file is removed, and what was at `path` stays. The name is
    another for each writer, so that two do not meet, and ends as `path` does: Pillow tells the format from
    it. The folder of `path` is made.

    Raises:
        OSError: the folder cannot be made, or the file not renamed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not a part of the target's name: where that just fits, a longer one would not.
    partial = target.with_name(f"{PARTIAL}{secrets.token_hex(4)}{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        with suppress(OSError):  # what went wrong is of more interest
            partial.unlink()
        raise


def remove_partial(folder: Path) -> None:
    """Remove what a killed program left half-written in a folder: files and folders named `PARTIAL`...

    Not in the folders inside it. Only to be called where no other program is writing.

    Raises:
        OSError: something cannot be removed.
    """
    for left in folder.glob(f"{PARTIAL}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
