"""What a person sees: progress, warnings, errors and results. None of it may stop the work."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Control characters, such as escape and line breaks; those that change the reading direction; and surrogates,
# which stand for bytes of a name that are not UTF-8.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Make text one line that cannot control a terminal: control characters become escapes like ``\x1b``.

    File names and a server's messages may hold any character.
    """
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str) -> None:
    """Print one line of a result."""
    print(printable(text))


def tell(text: str) -> None:
    """Print one line on the screen, where progress and messages go, if there is one."""
    with best_effort_output(screen()):
        print(text, file=screen(), flush=True)


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
    return _existing(sys.stderr)


def _existing(stream: TextIO | None) -> TextIO:
    return _Nowhere() if stream is None or getattr(stream, "closed", False) else stream


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


class _Forgiving:
    """A stream that goes quiet when it can no longer be written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with best_effort_output(self._stream):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with best_effort_output(self._stream):
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgiving(stream: TextIO | None) -> TextIO:
    """Return a stream that falls silent, without an error, if its reader has gone or its disk is full."""
    return cast(TextIO, _Forgiving(_existing(stream)))
