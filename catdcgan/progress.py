"""How far training is: a bar in a terminal or a notebook, elsewhere a line a minute, or nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from catdcgan.screen import screen

LINE_SECONDS = 60


def in_notebook() -> bool:
    """Whether this program runs in a notebook, whose output goes below the cell."""
    return "ipykernel" in sys.modules


def human_time(seconds: float) -> str:
    """A length of time as people say it: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


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


class Progress:
    """The bar or the lines; use it in a ``with`` statement."""

    def __init__(self, done: int, total: int, quiet: bool = False) -> None:
        """Show `done` of `total` images; or nothing, if `quiet`."""
        stderr = screen()
        # An object that takes the place of stderr may have no more than write().
        on_screen = in_notebook() or (hasattr(stderr, "isatty") and stderr.isatty())
        self._bar = tqdm(
            total=total,
            initial=done,
            disable=quiet or not on_screen,
            bar_format="{percentage:3.0f}%|{bar:20}| {desc}",
            dynamic_ncols=True,
            file=stderr,
        )
        self._lines = not quiet and not on_screen
        self._last_line = -float("inf")
        self._left = total - done
        self._last = perf_counter()
        self.seconds_per_image = 0.0  # of late
        self._weights = 0.0

    def __enter__(self) -> Progress:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Leave the bar as it stands."""
        with shown_if_possible(screen()):
            self._bar.close()

    def update(self, images: int, text: str, seconds_to_save: float) -> float:
        """Count a step's images and show how training gets on.

        Args:
            images: in the step.
            text: epoch, step and losses.
            seconds_to_save: until the next checkpoint, at the latest.

        Returns:
            Images per second, of this step.
        """
        now = perf_counter()
        seconds, self._last = now - self._last, now
        self._left -= images
        # An average in which a step counts 2 % less than the next; divided by the weights, sound from step 1.
        self._weights = 0.98 * self._weights + 0.02
        self.seconds_per_image += (seconds / images - self.seconds_per_image) * 0.02 / self._weights
        if self._lines and now - self._last_line < LINE_SECONDS and self._left > 0:
            return images / seconds
        end = human_time(self._left * self.seconds_per_image)
        text += f", {1 / self.seconds_per_image:.1f} images/s, ends in {end}"
        if seconds_to_save < self._left * self.seconds_per_image:
            text += f", saves in {human_time(max(seconds_to_save, 0))}"
        with shown_if_possible(screen()):
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(images)
            if self._lines:
                self._last_line = now
                print(text, file=screen())
        return images / seconds
