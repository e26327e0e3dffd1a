"""How the time, memory and graph of our training step grow with steps done, image size and batch size.

    .venv/bin/python benchmarks/growth.py

The first table follows one small network through many steps: nothing should grow. The second takes a few
steps at each image size and batch size. The first table, and each row of the second, is measured in its own
process. Time is the median of the steps since the previous row. Memory is what the process holds in RAM at
that moment, TensorFlow's own libraries included.
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
    """Train, and return a row of figures for each number of steps in `stops`."""
    from train_step import OURS, tensorflow_step

    step, _, graph = tensorflow_step(OURS, width, size, batch)
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
        operations = len(graph.get_operations())
        rows.append([f"{1000 * statistics.median(times):.1f}", f"{megabytes:.0f}", f"{operations}"])
    return rows


def measure_apart(width: int, size: int, batch: int, stops: list[int]) -> list[list[str]]:
    """Call `measure` in a separate process, so that memory is measured for it alone."""
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
