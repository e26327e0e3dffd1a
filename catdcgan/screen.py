"""What a person sees: progress, warnings, errors and results. None of it matters as much as the work."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Control characters, among them escape sequences and line breaks, and those that turn the reading direction.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Text as one line that does nothing to a terminal: control characters become escapes such as ``\x1b``.

    Names of files, and what a server says, may hold any character.
    """
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str) -> None:
    """Print one line of a result."""
    print(printable(text))


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
    return _existing(sys.stderr)


def _existing(stream: TextIO | None) -> TextIO:
    return _Nowhere() if stream is None or getattr(stream, "closed", False) else stream


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


class _Forgiving:
    """A stream that goes quiet when it can no longer be written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with shown_if_possible(self._stream):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with shown_if_possible(self._stream):
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgiving(stream: TextIO | None) -> TextIO:
    """A stream that may lose its reader, or fill its disk, without an error; drops all in place of None."""
    return cast(TextIO, _Forgiving(_existing(stream)))
