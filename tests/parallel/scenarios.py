"""One worker of several: goes through all scenarios of `test_group` in one process.

    python scenarios.py FOLDER ADDRESSES INDEX NAME...

For each NAME it trains into FOLDER/NAME; only worker 0 should. It leaves what happened in
FOLDER/NAME.INDEX.json, and its own weights at the end in FOLDER/NAME.INDEX.npz.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_runs import train_tiny

from catdcgan import Dataset, diff_augment, draw_cats, training
from catdcgan.run import checkpoint
from catdcgan.run.workers import Workers
from catdcgan.settings import AUGMENT_POLICIES
from catdcgan.training import Training

ALL: dict[str, Any] = {"flip": True, "augment": AUGMENT_POLICIES, "augment_target": 0.1, "average_decay": 0.9}
RISE = 100  # images in which the probability of augmentation can rise to 1: it moves in a few steps
IMAGES = 37  # three steps an epoch: 16, 16 and 5

# The arguments of `train` in each scenario; those of the second kind for worker 1 alone.
Scenario = tuple[dict[str, Any], dict[str, Any]]
SCENARIOS: dict[str, Scenario] = {
    "one step": ({"step_count": 1}, {}),
    "straight": ({"step_count": 12, "epoch_count": None, **ALL}, {}),
    "in two": ({"step_count": 6, "epoch_count": None, **ALL}, {}),
    "in two, on": ({"step_count": 12, "epoch_count": None, "resume": True, **ALL}, {}),
    "other option": ({"step_count": 1}, {"beta1": 0.4}),
    "other seed": ({"step_count": 1}, {"seed": 5}),
    "other pictures": ({"step_count": 1, "data_fingerprint": "one"}, {"data_fingerprint": "two"}),
    "vote": ({"epoch_count": 100}, {"signal": signal.SIGTERM}),
    "few": ({"step_count": 3, "epoch_count": None, "images": 17}, {}),  # the second batch is a single image
    "slow to save": ({"step_count": 1, "limit": 15}, {}),
    "mixed": ({"step_count": 2, "mixed_precision": True}, {}),
    "killed": ({"epoch_count": 100}, {"signal": signal.SIGKILL}),
}


def trained_on(cats: np.ndarray, number: signal.Signals | None) -> Callable[..., Any]:
    """Batches of these images; in the second epoch this process sends itself a signal."""
    dataset = Dataset.from_array(cats, seed=0)

    def get_batches(batch_size: int, epoch: int) -> Any:
        if number and epoch:
            os.kill(os.getpid(), number)
        return dataset.get_batches(batch_size, epoch)

    return get_batches


save = checkpoint.save


def slow_save(*arguments: Any) -> None:
    """Save, but let the others wait first, once for longer than their limit."""
    vars(checkpoint)["save"] = save
    time.sleep(20)
    save(*arguments)


def main() -> None:
    """Go through the scenarios."""
    folder, addresses, index = Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3])
    weights: dict[str, Any] = {}
    loop = Training.loop

    def loop_and_look(self: Training, interrupts: Collection[int]) -> None:
        loop(self, interrupts)
        variables = self.sess.graph.get_collection("variables")
        counted_by_saving = ("epoch", "epoch_step")  # by worker 0 alone
        compared = {v.op.name: v for v in variables if v.op.name not in counted_by_saving}
        weights.update(self.sess.run(compared))

    Training.loop = loop_and_look  # type: ignore[method-assign]
    vars(diff_augment)["RISE"] = RISE
    for name in sys.argv[4:]:
        for_all, for_worker_1 = SCENARIOS[name]
        arguments = for_all | (for_worker_1 if index else {})
        number, limit = arguments.pop("signal", None), arguments.pop("limit", Workers.step_limit)
        vars(training)["Workers"] = partial(Workers, step_limit=limit)
        vars(checkpoint)["save"] = slow_save if limit < Workers.step_limit else save
        cats = draw_cats(arguments.pop("images", IMAGES), 32, seed=0)
        run = folder / name.removesuffix(", on") if index == 0 else folder / f"nothing of {name}"
        weights.clear()
        outcome: dict[str, Any] = {}
        try:
            losses, samples = train_tiny(
                cats, run, trained_on(cats, number), workers=addresses, worker=index, **arguments
            )
            outcome = {"losses": losses, "samples": len(samples)}
        except (ValueError, SystemExit) as error:
            outcome = {"error": type(error).__name__, "text": str(error)}
        np.savez(folder / f"{name}.{index}.npz", **weights)
        (folder / f"{name}.{index}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
