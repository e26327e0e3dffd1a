"""How fast a training step is: ours compared with the article's, stock TensorFlow, and PyTorch.

    make bench                                        # the short way: see the Makefile
    .venv/bin/python benchmarks/train_step.py         # every width, about ten minutes
    .venv/bin/python benchmarks/train_step.py --profile --widths 32

A step is one whole iteration on one batch: the discriminator's update, then the generator's, with batch norm
and Adam; learning rates 0.0002, beta1 0.5, label smoothing 0.1; batches of random numbers. Each contender
runs in its own process, and they take turns, round after round. The table shows medians of the rounds, and
ratios of these medians.

- ours: one session call, in which both updates share the fakes.
- article's schedule: two session calls, each of which generates the fakes; with oneDNN, TensorFlow's library
  of fast kernels.
- stock TensorFlow: the same without oneDNN, which TensorFlow leaves off on CPUs without AVX512.
- PyTorch: the loop of its own DCGAN example, which generates the fakes once and detaches them for the
  discriminator. Both memory layouts are tried first, and the faster one is kept.
- PyTorch, tuned: the same, but without gradients of the discriminator's weights in the generator's step, and
  with Adam as one fused kernel.

The share of the matmul rate tells how much of the machine is used: the multiplications of our step, counted
from the layers' shapes, compared with those of a product of two large square float32 matrices in the same
time, with the same threads, in the same rounds. Multiplications by the zeros around an image are included.

`--profile` breaks down one of our steps: time by kind of operation, and speed of each convolution.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from turns import Contender, print_table, serve, take_turns, torch_found

Z_DIM = 100
STEP_OPTIONS: dict[str, Any] = {"beta1": 0.5, "alpha": 0.2, "smooth": 0.1}
LEARNING_RATE = 2e-4
MATMUL_SIDES = (1024, 2048, 4096)

OURS, ARTICLE, AS_IT_COMES = "ours", "article's schedule, oneDNN on", "stock TensorFlow"
TORCH_LAYOUTS = ["PyTorch, contiguous", "PyTorch, channels_last"]


def layer_macs(width: int, size: int, channels: int = 3) -> dict[str, int]:
    """Multiply-adds of one forward pass through each layer, for one image."""
    s, w = size, width
    shapes = {  # pixels that a kernel visits, kernel, channels in and out
        "discriminator/conv1": (s // 2, 5, channels, w),
        "discriminator/conv2": (s // 4, 5, w, 2 * w),
        "discriminator/conv3": (s // 8, 5, 2 * w, 4 * w),
        "discriminator/conv4": (s // 8, 5, 4 * w, 8 * w),
        "discriminator/conv5": (s // 16, 5, 8 * w, 16 * w),
        "discriminator/dense": (s // 16, 1, 16 * w, 1),
        "generator/dense": (s // 16, 1, Z_DIM, 16 * w),
        "generator/trans_conv1": (s // 16, 5, 16 * w, 8 * w),
        "generator/trans_conv2": (s // 8, 5, 8 * w, 4 * w),
        "generator/trans_conv3": (s // 4, 5, 4 * w, 2 * w),
        "generator/trans_conv4": (s // 2, 5, 2 * w, w),
        "generator/logits": (s, 5, w, channels),
    }
    return {
        name: side**2 * kernel**2 * inputs * outputs
        for name, (side, kernel, inputs, outputs) in shapes.items()
    }


def step_macs(width: int, size: int) -> int:
    """Multiply-adds of our whole step, for one real image and one fake.

    The generator runs forward once and backward once: to its weights, and to the inputs of all layers but its
    first. The discriminator runs forward three times (on the real image, on the fake, and on the fake again
    after its update), backward twice to its weights and to the inputs of all layers but its first, and
    backward once to its input, for the generator's gradient.
    """
    macs = layer_macs(width, size)
    D = sum(count for name, count in macs.items() if name.startswith("discriminator"))
    G = sum(count for name, count in macs.items() if name.startswith("generator"))
    forward = G + 3 * D
    to_weights = G + 2 * D
    to_inputs = G - macs["generator/dense"] + 2 * (D - macs["discriminator/conv1"]) + D
    return forward + to_weights + to_inputs


def synthetic_batches(batch: int, size: int, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Make `count` batches of images (n, s, s, 3) and latents (n, z_dim), both float32 in [-1, 1]."""
    random = np.random.default_rng(0)
    shapes = (batch, size, size, 3), (batch, Z_DIM)
    return [
        tuple(random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes)  # type: ignore[misc]
        for _ in range(count)
    ]


def tensorflow_step(
    name: str, width: int, size: int, batch: int, intra: int = 0, inter: int = 0
) -> tuple[Callable[..., object], dict[str, int]]:
    """Build the training step of a contender in TensorFlow.

    Args:
        name: OURS for one session call on shared fakes; otherwise the article's two calls.
        width: base_filters of both networks.
        size: of the images.
        batch: images in a step.
        intra: threads within an operation; 0 for TensorFlow's own choice.
        inter: operations at a time; 0 for TensorFlow's own choice.

    Returns:
        A function that trains one step (its arguments are passed to `Session.run`), and the numbers of
        parameters and of operations in the graph.
    """
    from catdcgan.graph import training_graph
    from catdcgan.model import model_inputs, model_loss, model_optimizers
    from catdcgan.settings import Settings
    from catdcgan.tf1 import tf

    shape = (size, size, 3)
    with tf.Graph().as_default() as graph:
        if name == OURS:
            net = training_graph(Settings(image_size=size, z_dim=Z_DIM, base_filters=width, **STEP_OPTIONS))
            placeholders = net.input_real, net.input_z, net.lr_G, net.lr_D
            calls = [[net.metrics, net.step]]
        else:
            real, z, lr_G, lr_D = placeholders = model_inputs(shape, Z_DIM)
            d_loss, g_loss = model_loss(real, z, 3, STEP_OPTIONS["alpha"], STEP_OPTIONS["smooth"], width)
            d_step, g_step = model_optimizers(d_loss, g_loss, lr_D, lr_G, STEP_OPTIONS["beta1"])
            calls = [[d_loss, d_step], [g_loss, g_step]]
        initialize = tf.global_variables_initializer()
        facts = {
            "parameters": sum(variable.shape.num_elements() for variable in tf.trainable_variables()),
            "operations": len(graph.get_operations()),
        }
    config = tf.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    session = tf.Session(graph=graph, config=config)
    session.run(initialize)
    batches = itertools.cycle(synthetic_batches(batch, size))

    def step(**options: object) -> None:
        feed = dict(zip(placeholders, [*next(batches), LEARNING_RATE, LEARNING_RATE], strict=True))
        for call in calls:
            session.run(call, feed, **options)

    return step, facts


def matmul_step(side: int, intra: int, inter: int) -> Callable[[], object]:
    """Multiply two square float32 matrices in TensorFlow."""
    from catdcgan.tf1 import tf

    with tf.Graph().as_default() as graph:
        left, right = (tf.get_variable(name, (side, side)) for name in ("left", "right"))
        product = tf.matmul(left, right).op
        initialize = tf.global_variables_initializer()
    config = tf.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    session = tf.Session(graph=graph, config=config)
    session.run(initialize)
    return lambda: session.run(product)


def work(name: str, width: int, options: argparse.Namespace) -> None:
    """In a child process: run the contender of this name."""
    if name.startswith("matmul"):
        serve(matmul_step(int(name.split()[1]), options.intra, options.inter))
    elif name.startswith("PyTorch"):
        import torch
        from torch_networks import training_step

        if options.intra:
            torch.set_num_threads(options.intra)
        layout = torch.channels_last if "channels_last" in name else torch.contiguous_format
        batches = synthetic_batches(options.batch, options.size)
        step, parameters = training_step(batches, width, layout, tuned="tuned" in name)
        serve(step, parameters=parameters, version=torch.__version__, threads=torch.get_num_threads())
    else:
        sizes = width, options.size, options.batch
        step, facts = tensorflow_step(name, *sizes, options.intra, options.inter)
        serve(step, **facts)


def start(name: str, width: int, options: argparse.Namespace) -> Contender:
    """Start the process of a contender."""
    arguments = ["--worker", name, "--widths", str(width)]
    for option in ("size", "batch", "intra", "inter"):
        arguments += [f"--{option}", str(getattr(options, option))]
    return Contender(arguments, {"TF_ENABLE_ONEDNN_OPTS": "0" if name == AS_IT_COMES else "1"})


def start_torch(width: int, options: argparse.Namespace) -> dict[str, Contender]:
    """Start PyTorch's usual loop, in the memory layout that is faster on this machine, and the tuned one."""
    if not torch_found():
        return {}
    layouts = {name: start(name, width, options) for name in TORCH_LAYOUTS}
    seconds = take_turns(layouts, dict.fromkeys(layouts, 1), 3)
    slower, faster = sorted(layouts, key=lambda name: -seconds[name])
    print(f"{slower}: {seconds[slower] / seconds[faster]:.2f} times as long as {faster}, so left out.\n")
    layouts[slower].stop()
    tuned = f"{faster}, tuned"
    return {faster: layouts[faster], tuned: start(tuned, width, options)}


def compare(width: int, options: argparse.Namespace) -> None:
    """Print the table of one width."""
    contenders = {name: start(name, width, options) for name in (OURS, ARTICLE, AS_IT_COMES)}
    contenders |= start_torch(width, options)
    counts = {contender.facts["parameters"] for contender in contenders.values()}
    if len(counts) > 1:
        raise SystemExit(f"the contenders do not train the same networks: {counts} parameters")

    matmuls = {f"matmul {side}": start(f"matmul {side}", width, options) for side in MATMUL_SIDES}
    steps = {name: max(1, options.steps * 16 // width) for name in contenders}
    steps |= {f"matmul {side}": (2 * MATMUL_SIDES[-1] // side) ** 2 // 4 for side in MATMUL_SIDES}
    seconds = take_turns({**contenders, **matmuls}, steps, options.rounds)
    for contender in [*contenders.values(), *matmuls.values()]:
        contender.stop()

    rate = max(side**3 / seconds[f"matmul {side}"] for side in MATMUL_SIDES)
    macs = step_macs(width, options.size)
    print(
        f"Width {width}, {options.size} px, batches of {options.batch}, {counts.pop():,} parameters; "
        f"medians of {options.rounds} rounds of {steps[OURS]} steps.\n"
        f"Our step: {macs / 1e9:.3f} billion multiply-adds an image. Matmul: {2 * rate / 1e9:.0f} GFLOP/s.\n"
    )
    print_table(
        ["", "s/step", "images/s", "ours is faster", "of the matmul rate"],
        [
            [
                name,
                f"{seconds[name]:.3f}",
                f"{options.batch / seconds[name]:.2f}",
                f"{seconds[name] / seconds[OURS]:.2f} x",
                f"{options.batch * macs / seconds[name] / rate:.0%}",
            ]
            for name in contenders
        ],
    )


def profile(width: int, options: argparse.Namespace) -> None:
    """Print where the time of one of our steps goes, by operation."""
    from catdcgan.tf1 import tf

    # One operation at a time: otherwise those that run in parallel would be counted twice.
    step, _ = tensorflow_step(OURS, width, options.size, options.batch, options.intra, inter=1)
    kinds: dict[str, list[float]] = defaultdict(list)
    convolutions: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(options.rounds + 1):
        metadata = tf.RunMetadata()
        step(options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
        if not number:
            continue  # the first step chooses its kernels
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                seconds = (node.op_end_rel_micros - node.op_start_rel_micros) / 1e6 / options.rounds
                kind = re.sub(r".* = (\w+)\(.*", r"\1", node.timeline_label.replace("\n", " "))
                kinds[kind].append(seconds)
                layer = re.search(r"(discriminator|generator)(?:_\d+)?/(\w+)/(?:\w+/)?(\w+)$", node.node_name)
                if layer and ("Conv2D" in kind or "MatMul" in kind):
                    convolutions[f"{layer[1]}/{layer[2]}", kind].append(seconds)
    whole = sum(map(sum, kinds.values()))
    print(f"Width {width}, {options.size} px, batch {options.batch}: one step, {whole:.3f} s.\n")
    ranked = sorted(kinds.items(), key=lambda item: -sum(item[1]))
    print_table(
        ["operation", "times", "ms", "share"],
        [
            [kind, len(times) // options.rounds, f"{1000 * sum(times):.1f}", f"{sum(times) / whole:.1%}"]
            for kind, times in ranked
            if sum(times) > whole / 1000
        ],
    )
    macs = layer_macs(width, options.size)
    print_table(
        ["layer and operation", "times", "ms", "share", "GFLOP/s"],
        [
            [
                f"{layer} {kind}",
                len(times) // options.rounds,
                f"{1000 * sum(times):.1f}",
                f"{sum(times) / whole:.1%}",
                f"{2e-9 * macs[layer] * options.batch * len(times) / options.rounds / sum(times):.0f}",
            ]
            for (layer, kind), times in sorted(convolutions.items())
        ],
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64], help="(default 16 32 64)")
    parser.add_argument("--size", type=int, default=128, help="of the images (default 128)")
    parser.add_argument("--batch", type=int, default=16, help="images in a step (default 16)")
    parser.add_argument("--rounds", type=int, default=5, help="of all contenders in turn (default 5)")
    parser.add_argument("--steps", type=int, default=6, help="in a turn at width 16, fewer above (default 6)")
    parser.add_argument(
        "--intra", type=int, default=0, help="threads in an operation (default: their choice)"
    )
    parser.add_argument("--inter", type=int, default=0, help="TensorFlow operations at a time (the same)")
    parser.add_argument("--profile", action="store_true", help="take our step apart instead")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for width in options.widths:
        if options.worker:
            work(options.worker, width, options)
        elif options.profile:
            profile(width, options)
        else:
            compare(width, options)


if __name__ == "__main__":
    main()
