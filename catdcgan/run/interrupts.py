"""Ctrl-C and the other signals that end a run, deferred until the step is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Ctrl-C; the signal of `kill` and of a shutdown; a dropped connection, which does not exist on Windows.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def heeded() -> list[int]:
    """Those of `STOPS` that this program was not started to ignore."""
    # None stands for a handler that was not set by Python, and could not be restored.
    return [number for number in STOPS if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def finish_step_first() -> Iterator[list[int]]:
    """Collect the signals in `STOPS` inside the block, for the training loop to check between steps.

    They take effect at the end of the block. A second Ctrl-C interrupts at once. Signals that the program was
    started to ignore stay ignored: Ctrl-C in a shell's background job, SIGHUP under ``nohup``. Python
    delivers signals to the main thread only, so in any other thread this does nothing.

    Yields:
        The numbers of the signals received so far.

    Raises:
        KeyboardInterrupt: at the end of the block, after Ctrl-C.
        SystemExit: at the end of the block, after another signal, with the exit status that shells use.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, receive) for number in heeded()}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
