"""How fast cats are generated: our generator with its moving averages, and PyTorch's in eval mode.

    .venv/bin/python benchmarks/sampling.py

Both use the same latents, at 128 px, and return float32 images. Each contender runs in its own process, and
they take turns, round after round. The table shows medians of the rounds.
"""

from __future__ import annotations

import argparse

from turns import Contender, print_table, serve, take_turns, torch_found

from catdcgan.latents import random_latents

Z_DIM = 100
SECONDS_OF_A_TURN = 0.5


def tensorflow_work(width: int, size: int, batch: int) -> None:
    """In a child process: run our generator."""
    from catdcgan.model import generator
    from catdcgan.sampling import sampling_output
    from catdcgan.tf1 import tf

    with tf.Graph().as_default():
        input_z = tf.placeholder(tf.float32, (None, Z_DIM))
        generator(input_z, 3, base_filters=width, image_size=size)  # creates the variables
        images = sampling_output(input_z, 3)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            z = random_latents(batch, Z_DIM)
            serve(lambda: session.run(images, {input_z: z}))


def torch_work(width: int, size: int, batch: int, layout: str) -> None:
    """In a child process: run PyTorch's generator."""
    import torch
    from torch_networks import generator

    network = generator(width, size, Z_DIM).to(memory_format=getattr(torch, layout)).eval()
    z = torch.from_numpy(random_latents(batch, Z_DIM))

    def generate() -> object:
        with torch.inference_mode():
            return network(z).numpy()

    serve(generate)


def work(name: str, sizes: tuple[int, int, int]) -> None:
    """In a child process: run the contender of this name."""
    if name == "ours":
        tensorflow_work(*sizes)
    else:
        torch_work(*sizes, layout="channels_last" if "channels_last" in name else "contiguous_format")


def compare(width: int, batch: int, names: list[str], options: argparse.Namespace) -> list[str]:
    """Return the row of one width and batch size."""
    sizes = ["--widths", str(width), "--batches", str(batch), "--size", str(options.size)]
    contenders = {name: Contender(["--worker", name, *sizes]) for name in names}
    steps = {
        name: max(1, round(SECONDS_OF_A_TURN / contender.run(2)[0])) for name, contender in contenders.items()
    }
    seconds = take_turns(contenders, steps, options.rounds)
    for contender in contenders.values():
        contender.stop()
    fastest = min(seconds[name] for name in names[1:]) if names[1:] else None
    return [
        f"{width}",
        f"{batch}",
        *(f"{batch / seconds[name]:.1f}" for name in names),
        *([f"{fastest / seconds['ours']:.2f} x"] if fastest else []),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64], help="(default 16 32 64)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64], help="(default 1 16 64)")
    parser.add_argument("--size", type=int, default=128, help="of the images (default 128)")
    parser.add_argument("--rounds", type=int, default=5, help="of all contenders in turn (default 5)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, (options.widths[0], options.size, options.batches[0]))
        return
    names = ["ours"]
    if torch_found():
        names += ["PyTorch, contiguous", "PyTorch, channels_last"]
    print(f"Images of {options.size} px drawn in a second, medians of {options.rounds} rounds.\n")
    header = ["width", "batch", *names, *(["ours to the faster PyTorch"] if names[1:] else [])]
    print_table(
        header,
        [compare(width, batch, names, options) for width in options.widths for batch in options.batches],
    )


if __name__ == "__main__":
    main()
