"""Training progress: a bar in a terminal or a notebook, a line a minute elsewhere, or nothing."""

from __future__ import annotations

import shutil
from time import perf_counter
from types import TracebackType

from tqdm import tqdm

from catdcgan.screen import best_effort_output, in_notebook, screen

LINE_SECONDS = 60
BAR = 8  # characters of the bar itself; its frame and the percentage take seven more


def human_time(seconds: float) -> str:
    """Format a duration, given in seconds, for people: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
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


class Speed:
    """The speed of training.

    Attributes:
        seconds_per_image: moving average; 0 before the first step.
    """

    def __init__(self) -> None:
        """Start measuring."""
        self.seconds_per_image = 0.0
        self._last = perf_counter()
        self._weights = 0.0

    def count(self, images: int) -> float:
        """Count a step's images, and return the images per second of this step."""
        now = perf_counter()
        seconds, self._last = now - self._last, now
        if not self.seconds_per_image:  # the first step takes seconds more, so the next ones replace it
            self.seconds_per_image = seconds / images
            return images / seconds
        # A moving average: each step counts 2 % less than the next. Dividing by the sum of the weights makes
        # it correct from the second step on.
        self._weights = 0.98 * self._weights + 0.02
        self.seconds_per_image += (seconds / images - self.seconds_per_image) * 0.02 / self._weights
        return images / seconds


class Progress:
    """A progress bar or lines of progress, for use in a ``with`` statement."""

    def __init__(self, done: int, total: int, quiet: bool = False) -> None:
        """Show `done` of `total` images; or nothing, if `quiet`."""
        stderr = screen()
        # A replacement for stderr may have only write().
        on_screen = in_notebook() or (hasattr(stderr, "isatty") and stderr.isatty())
        self._bar = tqdm(
            total=total,
            initial=done,
            disable=quiet or not on_screen,
            bar_format=f"{{percentage:3.0f}}%|{{bar:{BAR}}}| {{desc}}",
            dynamic_ncols=True,
            file=stderr,
        )
        self._lines = not quiet and not on_screen
        self._last_line = -float("inf")
        self._left = total - done

    def __enter__(self) -> Progress:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Close the bar, leaving it on the screen."""
        with best_effort_output(screen()):
            self._bar.close()

    def update(self, images: int, text: str, seconds_per_image: float, seconds_to_save: float) -> None:
        """Show the progress after a step, in one line of the terminal, or of 80 columns where there is none.

        Args:
            images: number of images in the step.
            text: step and losses.
            seconds_per_image: as in `Speed`.
            seconds_to_save: seconds until the next checkpoint, at the latest.
        """
        self._left -= images
        now = perf_counter()
        if self._lines and now - self._last_line < LINE_SECONDS and self._left > 0:
            return
        seconds_left = self._left * seconds_per_image
        parts = [f"{human_time(seconds_left)} left", text, f"{1 / seconds_per_image:.1f} images/s"]
        if seconds_to_save < seconds_left:
            parts.append(f"saves in {human_time(max(seconds_to_save, 0))}")
        # A character less: some terminals begin a new line after the last column.
        columns = shutil.get_terminal_size().columns - 1 - (0 if self._lines else BAR + len("100%|| "))
        while len(parts) > 1 and len(", ".join(parts)) > columns:
            parts.pop()
        line = ", ".join(parts)
        with best_effort_output(screen()):
            self._bar.set_description_str(line, refresh=False)
            self._bar.update(images)
            if self._lines:
                self._last_line = now
                print(line, file=screen())
