"""How fast a training step is on a GPU: ours in each type, with and without XLA, beside PyTorch's.

    .venv/bin/python benchmarks/gpu.py
    .venv/bin/python benchmarks/gpu.py --widths 32 --batches 16

The step is that of `train_step.py`, and so is PyTorch's loop: tuned, compiled, in the memory layout
channels_last. Both copy each batch from the computer's memory to the GPU, as float32, and bring the losses
back after each step. In float32, both multiply in TF32, as TensorFlow does by default.

The contenders start together, because compiling takes a while, and then take turns. The table shows medians
of the rounds.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import train_step
from turns import Contender, describe_machine, print_table, same_parameters, take_turns, torch_found

SIZE = 128
OURS = "ours, float32", "ours, float32, XLA", "ours, bfloat16", "ours, bfloat16, XLA"
TORCH = "PyTorch, compiled, channels_last, float32", "PyTorch, compiled, channels_last, bfloat16"


def work(name: str, width: int, batch: int) -> None:
    """In a child process: run the contender of this name."""
    if name in TORCH:
        import torch

        torch.set_float32_matmul_precision("high")  # TF32 in the dense layers too
    train_step.work(name, width, argparse.Namespace(size=SIZE, batch=batch, intra=0, inter=0))


def start(name: str, width: int, batch: int) -> Contender:
    """Start the process of a contender."""
    return Contender(["--worker", name, "--widths", str(width), "--batches", str(batch)])


def compare(width: int, batch: int, contenders: dict[str, Contender], options: argparse.Namespace) -> None:
    """Let the contenders of one width and batch size take turns, and print their table."""
    same_parameters(contenders)
    seconds = take_turns(contenders, dict.fromkeys(contenders, options.steps), options.rounds)
    for contender in contenders.values():
        contender.stop()
    ours = min(seconds[name] for name in OURS)
    print(f"## Width {width}, batches of {batch}, {SIZE} px\n")
    rows = [
        [name, f"{1000 * taken:.2f}", f"{batch / taken:,.0f}", f"{taken / ours:.2f} x"]
        for name, taken in seconds.items()
    ]
    print_table(["", "ms/step", "images/s", "our fastest is faster"], rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64], help="(default 32 64)")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64], help="sizes (default 16 64)")
    parser.add_argument("--rounds", type=int, default=5, help="of all contenders in turn (default 5)")
    parser.add_argument("--steps", type=int, default=50, help="in a turn (default 50)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.widths[0], options.batches[0])
        return
    from catdcgan.tf1 import GPUS
    from catdcgan.tf1.device import describe_device

    if not GPUS:
        raise SystemExit("TensorFlow found no GPU here. benchmarks/train_step.py measures the CPU.")
    print(f"{describe_machine()} {describe_device()}\n")
    names = OURS + (TORCH if torch_found() else ())
    cases = list(product(options.widths, options.batches))
    with ThreadPoolExecutor(len(cases) * len(names)) as pool:
        jobs = {case: {name: pool.submit(start, name, *case) for name in names} for case in cases}
    for case, started in jobs.items():
        compare(*case, {name: job.result() for name, job in started.items()}, options)


if __name__ == "__main__":
    main()
