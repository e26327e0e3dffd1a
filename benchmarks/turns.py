"""Contenders that take turns: each in its own process, timed round after round under the same conditions.

Some settings, such as TensorFlow's oneDNN, are fixed when a library loads, and two libraries in one process
would share threads and memory. So each contender is a child process that runs the same program with
``--worker NAME``, prints facts about itself as a line of JSON, and then answers each number of steps that it
reads with the seconds they took.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

TRIES = 3  # of a turn that other programs disturb
DISTURBED = 0.03  # fraction of all cores that they may take


class Contender:
    """A child process that waits for its turn."""

    def __init__(self, arguments: Sequence[str], unset: Sequence[str] = ()) -> None:
        """Start this program again with other arguments, and wait until it is ready.

        Args:
            arguments: for the child; they should make it call `serve`.
            unset: variables that it should not inherit.

        Raises:
            SystemExit: the child ended before it was ready; stderr shows why.
        """
        self._process = psutil.Popen(
            [sys.executable, sys.argv[0], *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in unset},
        )
        self.facts: dict[str, Any] = self._answer()

    def run(self, steps: int) -> tuple[float, float]:
        """Run a number of steps.

        Returns:
            The seconds that a step took, and the fraction of all cores that other programs used meanwhile.
        """
        before = _busy_seconds() - self._busy_seconds()
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        seconds = float(self._answer())
        others = _busy_seconds() - self._busy_seconds() - before
        return seconds / steps, others / seconds / psutil.cpu_count()

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender stopped: {' '.join(self._process.args)}")
        return json.loads(line)

    def _busy_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _busy_seconds() -> float:
    """Seconds that all cores together have been busy since the machine started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0))


def describe_machine() -> str:
    """Name the CPU, its cores, and the instruction sets that decide how fast it multiplies."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    sets = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX-BF16"}
    found = [name for flag, name in sets.items() if flag in flags]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return (
        f"CPU: {facts.get('model name', platform.processor())}, {psutil.cpu_count()} cores. "
        f"Instruction sets: {', '.join(found) or 'unknown'}"
        f"{f'; oneDNN limited to {limit} by ONEDNN_MAX_CPU_ISA' if limit else ''}."
    )


def torch_found() -> bool:
    """Whether PyTorch is installed, to compare with; if not, print a line that says so."""
    found = importlib.util.find_spec("torch") is not None
    if not found:
        print("PyTorch is not installed here, so it is left out: `make bench` installs it.\n")
    return found


def serve(step: Callable[[], object], **facts: Any) -> None:
    """In the child: run two steps to warm up, print the facts, then run steps on request until stdin ends."""
    step()
    step()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(json.dumps(time.perf_counter() - start), flush=True)


def take_turns(
    contenders: Mapping[str, Contender], steps: Mapping[str, int], rounds: int
) -> dict[str, float]:
    """Let each contender run its steps, round after round; return the median seconds per step of each.

    A turn that other programs disturb is repeated. If they do not stop, it counts anyway, and a line on
    stderr says so.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            for _ in range(TRIES):
                taken, others = contender.run(steps[name])
                if others <= DISTURBED:
                    break
            else:
                print(f"{name}: other programs took {others:.0%} of the machine.", file=sys.stderr)
            seconds[name].append(taken)
    return {name: statistics.median(times) for name, times in seconds.items()}


def same_parameters(contenders: Mapping[str, Contender]) -> int:
    """The number of parameters that all contenders train; end here if it differs."""
    counts = {contender.facts["parameters"] for contender in contenders.values()}
    if len(counts) > 1:
        raise SystemExit(f"the contenders do not train the same networks: {counts} parameters")
    return int(counts.pop())


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table: the first column aligned left, the others, which are numbers, right."""
    lines = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for first, *others in lines:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print(f"| {' | '.join(cells)} |")
    print(flush=True)
