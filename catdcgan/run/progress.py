"""How far training is: a bar in a terminal or a notebook, elsewhere a line a minute, or nothing."""

from __future__ import annotations

from time import perf_counter
from types import TracebackType

from tqdm import tqdm

from catdcgan.screen import in_notebook, screen, shown_if_possible

LINE_SECONDS = 60


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


class Speed:
    """How fast training is.

    Attributes:
        seconds_per_image: of late; 0 before the first step.
    """

    def __init__(self) -> None:
        """Begin to measure."""
        self.seconds_per_image = 0.0
        self._last = perf_counter()
        self._weights = 0.0

    def count(self, images: int) -> float:
        """Count a step's images, and return how many a second that was."""
        now = perf_counter()
        seconds, self._last = now - self._last, now
        # An average in which a step counts 2 % less than the next; divided by the weights, sound from step 1.
        self._weights = 0.98 * self._weights + 0.02
        self.seconds_per_image += (seconds / images - self.seconds_per_image) * 0.02 / self._weights
        return images / seconds


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

    def __enter__(self) -> Progress:
        """Start."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Leave the bar as it stands."""
        with shown_if_possible(screen()):
            self._bar.close()

    def update(self, images: int, text: str, seconds_per_image: float, seconds_to_save: float) -> None:
        """Show how training gets on after a step.

        Args:
            images: in the step.
            text: epoch, step and losses.
            seconds_per_image: as `Speed` says.
            seconds_to_save: until the next checkpoint, at the latest.
        """
        self._left -= images
        now = perf_counter()
        if self._lines and now - self._last_line < LINE_SECONDS and self._left > 0:
            return
        seconds_left = self._left * seconds_per_image
        text += f", {1 / seconds_per_image:.1f} images/s, ends in {human_time(seconds_left)}"
        if seconds_to_save < seconds_left:
            text += f", saves in {human_time(max(seconds_to_save, 0))}"
        with shown_if_possible(screen()):
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(images)
            if self._lines:
                self._last_line = now
                print(text, file=screen())
