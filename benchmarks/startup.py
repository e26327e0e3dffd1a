"""How fast catdcgan starts: its commands compared with the import of TensorFlow alone.

    .venv/bin/python benchmarks/startup.py

Each command runs in its own process, and they take turns, round after round. The table shows medians of the
rounds, and their ratios to the import of TensorFlow, which is the minimum for a program that uses it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import print_table

MODEL = Path(__file__).parents[1] / "models" / "model.ckpt"
COUNTS = 1, 64


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=MODEL, help="to draw from (default models/model.ckpt)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="of all commands in turn (default 7)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        tensorflow = 'python -c "import tensorflow"'
        sample = ["-m", "catdcgan", "sample", "--checkpoint", options.checkpoint]
        sample += ["--out", Path(folder, "cats.png"), "--count"]
        commands = {
            tensorflow: ["-c", "import tensorflow"],
            'python -c "import catdcgan"': ["-c", "import catdcgan"],
            "catdcgan --help": ["-m", "catdcgan", "--help"],
            **{f"catdcgan sample --count {count}": [*sample, str(count)] for count in COUNTS},
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):
            for name, arguments in commands.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
                if number:  # the first round warms up the disk's cache
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"Medians of {options.rounds} rounds.\n")
    print_table(
        ["command", "seconds", "to the import of TensorFlow"],
        [
            [f"`{name}`", f"{median:.2f}", f"{median / medians[tensorflow]:.2f} x"]
            for name, median in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
