"""Where progress, warnings and errors go: stderr, or nowhere where there is none."""

from __future__ import annotations

import io
import sys
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
