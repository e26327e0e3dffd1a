"""Where progress, warnings and errors go: stderr, or nowhere where there is none."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class _Nowhere(io.StringIO):
    """Takes all text and keeps none."""

    def write(self, text: str, /) -> int:
        """Drop `text`."""
        return len(text)


def screen() -> TextIO:
    """Give the stream for what a person should see: stderr, or one that drops everything.

    There is no stderr in a Windows program without a console (pythonw) and after ``2>&-``. It is None then:
    tqdm fails on it, and print takes stdout in its place.
    """
    if sys.stderr is None or getattr(sys.stderr, "closed", False):
        return _Nowhere()
    return sys.stderr


def in_notebook() -> bool:
    """Whether this program runs in a notebook, whose output goes below the cell."""
    return "ipykernel" in sys.modules


@contextmanager
def shown_if_possible(stream: TextIO) -> Iterator[None]:
    """Show something, and from then on nothing if that fails: training is worth more than its words.

    The terminal of a dropped connection is gone, say, or the disk with the log is full.
    """
    try:
        yield
        if hasattr(stream, "flush"):  # what takes the place of stderr may have no more than write()
            stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # what the stream still holds goes there when Python ends
        os.close(nowhere)
