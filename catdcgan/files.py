"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed.

And what is to be asked of a file before it is read.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from catdcgan.errors import InputError

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


def refuse_pipes(*paths: Path) -> None:
    """Refuse named pipes where there should be files, or nothing: to open one could wait for ever.

    Raises:
        InputError: one is a named pipe.
    """
    for path in paths:
        if path.is_fifo():
            raise InputError(f"{path} is a named pipe and no file: remove it, or choose another place")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that anybody may have written.

    Raises:
        ValueError: it is no text, no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
