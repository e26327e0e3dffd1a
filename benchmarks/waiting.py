"""How long training waits for its data: batches prefetched in a thread, or made between steps.

    .venv/bin/python benchmarks/waiting.py

Both variants train for some steps in turn, round after round, on the same painted cats, with flips. The
smaller the networks, the larger the share of time spent on data: hence width 8.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

from turns import print_table

from catdcgan import Dataset, draw_cats, training
from catdcgan.data.dataset import prefetch

WARM_UP = 10  # steps


def waits_and_steps(
    dataset: Dataset,
    supply: Callable[[Iterable[Any]], Iterable[Any]],
    scale: bool,
    options: argparse.Namespace,
) -> tuple[list[float], list[float]]:
    """Train, and return the seconds of each wait for a batch, and of each step with its wait."""
    waits, ends = [], []

    def timed(items: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(supply(items))
        while True:
            ends.append(time.perf_counter())
            item = next(iterator, None)
            waits.append(time.perf_counter() - ends[-1])
            if item is None:
                return
            yield item

    with tempfile.TemporaryDirectory() as folder, patch.object(training, "prefetch", timed):
        training.train(
            epoch_count=options.steps,
            batch_size=options.batch,
            z_dim=100,
            learning_rate_D=2e-4,
            learning_rate_G=2e-4,
            beta1=0.5,
            get_batches=partial(dataset.get_batches, scale=scale),
            data_shape=dataset.shape,
            data_image_mode=dataset.image_mode,
            alpha=0.2,
            base_filters=options.width,
            flip=True,
            step_count=options.steps + WARM_UP,
            sample_every_steps=0,
            show_every_epochs=0,
            model_dir=folder,
            image_dir=folder,
            quiet=True,
        )
    steps = [end - start for start, end in itertools.pairwise(ends)]
    return waits[WARM_UP : len(steps)], steps[WARM_UP:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=8, help="of both networks (default 8)")
    parser.add_argument("--batch", type=int, default=16, help="images in a step (default 16)")
    parser.add_argument("--steps", type=int, default=60, help="in a round (default 60)")
    parser.add_argument("--rounds", type=int, default=3, help="of both ways in turn (default 3)")
    options = parser.parse_args()
    dataset = Dataset.from_array(draw_cats(options.batch * (options.steps + WARM_UP), 128))
    variants: dict[str, tuple[Callable[[Iterable[Any]], Iterable[Any]], bool]] = {
        "made ahead, scaled in the graph": (prefetch, False),
        "made between steps, scaled by numpy": (iter, True),
    }
    waits: dict[str, list[float]] = {name: [] for name in variants}
    steps: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, (supply, scale) in variants.items():
            more_waits, more_steps = waits_and_steps(dataset, supply, scale, options)
            waits[name] += more_waits
            steps[name] += more_steps
    rows = []
    for name in variants:
        step, wait = statistics.median(steps[name]), statistics.median(waits[name])
        share = sum(waits[name]) / sum(steps[name])
        rows.append((name, f"{1000 * step:.1f}", f"{1000 * wait:.3f}", f"{share:.2%}"))
    print_table([f"batches at width {options.width}", "step, ms", "wait, ms", "share of the time"], rows)


if __name__ == "__main__":
    main()
