"""Whether our training grows: time, memory and graph of a step, against steps done, image size and batch.

    .venv/bin/python benchmarks/growth.py

The first table goes through many steps of one small network: nothing should grow with them. The second takes
a few steps of each image size and batch. Each row of the second, and the whole first table, is a process of
its own. Time is the median of the steps since the row before. Memory is what the process then holds in RAM,
TensorFlow's own libraries with it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import psutil
from turns import print_table

HEADER = ["ms/step", "memory, MB", "operations in the graph"]


def measure(width: int, size: int, batch: int, stops: list[int]) -> list[list[str]]:
    """Train, and give a row of figures after each of these numbers of steps."""
    from train_step import OURS, tensorflow_step

    step, facts = tensorflow_step(OURS, width, size, batch)
    rows = []
    done = 0
    for stop in stops:
        times = []
        for _ in range(stop - done):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        done = stop
        megabytes = psutil.Process().memory_info().rss / 1e6
        rows.append([f"{1000 * statistics.median(times):.1f}", f"{megabytes:.0f}", f"{facts['operations']}"])
    return rows


def measure_apart(width: int, size: int, batch: int, stops: list[int]) -> list[list[str]]:
    """Do that in a process of its own, so that its memory is of this alone."""
    sizes = ["--width", width, "--sizes", size, "--batches", batch, "--stops", *stops]
    output = subprocess.run(
        [sys.executable, __file__, *map(str, sizes)], check=True, stdout=subprocess.PIPE, text=True
    )
    return list(json.loads(output.stdout))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000, help="of the first table (default 1000)")
    parser.add_argument("--width", type=int, default=8, help="base_filters of both networks (default 8)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[32, 64, 128, 256], help="of images (default 32 64 128 256)"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64], help="(default 1 16 64)")
    parser.add_argument("--stops", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stops:
        print(json.dumps(measure(options.width, options.sizes[0], options.batches[0], options.stops)))
        return

    stops = [max(1, options.steps * fifth // 5) for fifth in range(6)]
    print(f"Steps: width {options.width}, 32 px, batches of 16.\n")
    rows = measure_apart(options.width, 32, 16, stops)
    print_table(["steps", *HEADER], [[stop, *row] for stop, row in zip(stops, rows, strict=True)])

    print(f"Image size and batch: width {options.width}, after 10 steps.\n")
    print_table(
        ["px", "batch", *HEADER],
        [
            [size, batch, *measure_apart(options.width, size, batch, [10])[0]]
            for size in options.sizes
            for batch in options.batches
        ],
    )


if __name__ == "__main__":
    main()
