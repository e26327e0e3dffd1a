"""The workers of ``--devices``: processes on this machine, each with a GPU or a share of the cores."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from time import monotonic, sleep

from catdcgan.errors import RunError
from catdcgan.run.interrupts import heeded
from catdcgan.screen import tell

# Programs for other processes, which import from where this one does.
COUNT_GPUS = """
import sys
sys.path = {path}
from catdcgan.tf1 import GPUS
print(len(GPUS))
"""
WORKER = """
import sys
sys.path = {path}
try:
    from catdcgan.parallel.devices import follow_parent
    follow_parent()
    from catdcgan.cli import main
except KeyboardInterrupt:
    raise SystemExit(130) from None
raise SystemExit(main())
"""
PAUSE = 5  # seconds in which the others notice by themselves that a worker has failed
GRACE = 10  # seconds, beyond the limit of a step, after which they are killed
ORPHAN_SECONDS = 60  # in which a worker whose parent is gone may save


def train_on_devices(count: int, arguments: Sequence[str], step_limit: float) -> int:
    """Run the command line `arguments` in `count` workers, and return its exit status.

    Worker 0 uses the screen. What another one printed is shown if it fails. Signals go to all of them.
    """
    shares = _shares(count)  # before signals are passed on: Ctrl-C ends it
    with ExitStack() as stack:
        # Bound until the end, so no other program gets these ports. TensorFlow may still listen on them.
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        addresses = ",".join(f"127.0.0.1:{holder.getsockname()[1]}" for holder in holders)
        outputs = [None, *(stack.enter_context(TemporaryFile()) for _ in holders[1:])]
        workers: list[subprocess.Popen[bytes]] = []
        received: list[int] = []

        def pass_on(number: int, _: object = None) -> None:
            received.append(number)
            for worker in workers:
                worker.send_signal(number)  # not sent to one that has ended

        for number in heeded():
            stack.callback(signal.signal, number, signal.signal(number, pass_on))
        for index, (variables, cores) in enumerate(shares):
            command = [sys.executable, "-c", WORKER.format(path=sys.path), *arguments, "--devices=1"]
            command += [f"--workers={addresses}", f"--worker={index}"]
            # Sessions of their own: Ctrl-C in a terminal reaches this process alone, which passes it on.
            worker = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=outputs[index],
                    stderr=outputs[index],
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
            )
            workers.append(worker)
            stack.callback(worker.kill)
            for number in received:  # before there was this worker
                worker.send_signal(number)
            if cores:
                os.sched_setaffinity(worker.pid, cores)
        first = _wait(workers, step_limit)
        shown = first or 0
        if first == 0 and workers[0].returncode < 0:
            shown = 1  # worker 0 shows its own error, but it was killed: another one says what to do
        if output := outputs[shown]:
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            code = workers[shown].returncode
            ended = (
                f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
            )
            tell(f"Worker {shown} {ended}. {said}".strip())
        status = next(filter(None, [worker.returncode for worker in workers]), 0)
    return 128 - status if status < 0 else status


def _wait(workers: Sequence[subprocess.Popen[bytes]], step_limit: float) -> int | None:
    """Wait until all have ended, and return the first that failed; the others are stopped soon after it."""
    first, failed_at = None, float("inf")
    while True:
        statuses = [worker.poll() for worker in workers]
        failed = [number for number, status in enumerate(statuses) if status not in (None, 0, 129, 130, 143)]
        if failed and first is None:
            first, failed_at = failed[0], monotonic()
        if None not in statuses:
            return first
        if monotonic() > failed_at + PAUSE:  # they have not noticed: they read pictures, or wait for it
            for worker in workers:
                worker.terminate() if monotonic() < failed_at + step_limit + GRACE else worker.kill()
        sleep(0.1)


def _shares(count: int) -> list[tuple[dict[str, str], list[int]]]:
    """The environment variables of each worker, and the numbers of its CPU cores, if it shares them."""
    program = [sys.executable, "-c", COUNT_GPUS.format(path=sys.path)]  # of its own: it loads TensorFlow
    done = subprocess.run(program, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"the GPUs of this machine cannot be counted: {done.stderr.strip()}")
    found = int(done.stdout)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    there = found or len(cores) or os.cpu_count() or 1
    if count > there:
        kind = "GPUs" if found else "cores"
        warnings.warn(f"{count} devices share the {there} {kind} of this machine", stacklevel=3)
    if found:
        gpus = (os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(found)))).split(",")
        return [({"CUDA_VISIBLE_DEVICES": gpus[index % found]}, []) for index in range(count)]
    parts = [cores[len(cores) * n // count : len(cores) * (n + 1) // count] for n in range(count)]
    return [({}, part or cores[index % there :][:1]) for index, part in enumerate(parts)]


def follow_parent() -> None:
    """End as after SIGTERM when the process that started this one is gone: its end of stdin closes then."""

    def watch() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        sleep(ORPHAN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
