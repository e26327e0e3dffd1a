"""What training in two processes costs: one process with two cores beside two with one core each.

    .venv/bin/python benchmarks/workers.py

Both see the same batches, so on a machine of two cores any difference is the price of working together: the
sums over the loopback, batch norm in pieces, waiting for the slower. The command line trains on painted cats,
round after round in turn; the first steps of each run are left out. The traffic is what the loopback carried
for the whole machine, divided by the steps, so other programs should not use it meanwhile. It includes all
variables, which worker 0 sends at the start: a fifth of the figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from turns import describe_machine, print_table

WARM_UP = 3  # steps


def train(options: argparse.Namespace, width: int, devices: int) -> tuple[float, float]:
    """Train for some steps; return the median seconds of a step, and the megabytes that each step sent."""
    with tempfile.TemporaryDirectory() as folder:
        steps = options.steps + WARM_UP
        command = [
            sys.executable,
            "-m",
            "catdcgan",
            "train",
            "--data=drawn",
            "--quiet",
            f"--out={folder}/run",
        ]
        command += [f"--drawn-count={4 * options.batch}", f"--size={options.size}", f"--steps={steps}"]
        command += [f"--batch-size={options.batch}", f"--base-filters={width}", f"--devices={devices}"]
        command += ["--sample-every-steps=1000000", "--save-every-epochs=1000000"]
        before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before
        lines = Path(folder, "run", "history.jsonl").read_text("utf-8").splitlines()
    speeds = [json.loads(line)["images_per_second"] for line in lines[WARM_UP:]]
    return options.batch / statistics.median(speeds), sent / steps / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32], help="(default 16 32)")
    parser.add_argument("--size", type=int, default=128, help="of images (default 128)")
    parser.add_argument("--batch", type=int, default=16, help="(default 16)")
    parser.add_argument("--steps", type=int, default=12, help="of each run (default 12)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    options = parser.parse_args()
    print(
        f"{describe_machine()}\n\n{options.size} px, batches of {options.batch}, {options.rounds} rounds.\n"
    )
    rows = []
    for width in options.widths:
        found = [[train(options, width, devices) for devices in (1, 2)] for _ in range(options.rounds)]
        (one, _), (two, sent) = (
            [statistics.median(values) for values in zip(*runs, strict=True)]
            for runs in zip(*found, strict=True)
        )
        rows.append([width, f"{one:.3f}", f"{two:.3f}", f"{two / one:.2f} x", f"{sent / 2:.0f}"])
    print_table(
        ["width", "one process, s/step", "two processes, s/step", "two to one", "MB a step, each way"], rows
    )


if __name__ == "__main__":
    main()
