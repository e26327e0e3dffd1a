"""Where progress, warnings and errors go: to stderr, or nowhere if there is none."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class _Nowhere(io.StringIO):
    """A stream that drops all text."""

    def write(self, text: str, /) -> int:
        """Drop `text`."""
        return len(text)


def screen() -> TextIO:
    """Return the stream for progress and messages: stderr, or one that drops everything.

    A Windows program without a console (pythonw), or one started with ``2>&-``, has no stderr. It is then
    None: tqdm fails on that, and print writes to stdout instead.
    """
    if sys.stderr is None or getattr(sys.stderr, "closed", False):
        return _Nowhere()
    return sys.stderr


def in_notebook() -> bool:
    """Whether this program runs in a notebook, where output appears below the cell."""
    return "ipykernel" in sys.modules


@contextmanager
def best_effort_output(stream: TextIO) -> Iterator[None]:
    """Write to a stream inside the block; if that fails, drop all further output instead of raising.

    Training matters more than its messages. The terminal may be gone with a dropped connection, for example,
    or the disk that holds the log may be full.
    """
    try:
        yield
        if hasattr(stream, "flush"):  # a replacement for stderr may have only write()
            stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # Python flushes the stream's buffer there at exit
        os.close(nowhere)
