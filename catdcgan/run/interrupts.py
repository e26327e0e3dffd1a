"""Ctrl-C and the other signals that end a run, held back until the step is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Ctrl-C; what `kill` and a shutdown send; a dropped connection, which Windows does not know.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def finish_step_first() -> Iterator[list[int]]:
    """Collect the signals in `STOPS` inside the block, for the training loop to look at between two steps.

    They take effect at the end: KeyboardInterrupt for Ctrl-C, for the others an exit with the status that a
    shell gives them. A second Ctrl-C interrupts at once. What the program was started to ignore stays
    ignored: Ctrl-C in a shell's background job, SIGHUP under ``nohup``. Python delivers signals to the main
    thread alone, so in any other thread there is nothing to do.

    Yields:
        The numbers of the signals received so far.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    # None is a handler that was not set by Python, and could not be set again.
    heeded = [number for number in STOPS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, receive) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
