"""How fast a training step is: ours compared with the article's, stock TensorFlow, and PyTorch.

    make bench                                        # the short way: see the Makefile
    .venv/bin/python benchmarks/train_step.py         # every width
    ONEDNN_MAX_CPU_ISA=AVX2 .venv/bin/python benchmarks/train_step.py     # as on a CPU without AVX512
    .venv/bin/python benchmarks/train_step.py --profile --widths 32 --types bfloat16

A step is one whole iteration on one batch: the discriminator's update, then the generator's, with batch norm
and Adam; learning rates 0.0002, beta1 0.5, label smoothing 0.1; batches of random numbers. Each contender
runs in its own process, and they take turns, round after round. The table shows medians of the rounds, and
ratios of these medians. There is a table for each type: float32, and bfloat16 where the CPU multiplies it.

- ours: one session call, in which both updates share the fakes; in bfloat16 with ``--mixed-precision``.
- article's schedule: two session calls, each of which generates the fakes.
- stock TensorFlow: the same, with no variable set. The table says whether TensorFlow then uses oneDNN, its
  library of fast kernels: it does so by itself on newer CPUs only.
- PyTorch, usual loop: that of its own DCGAN example, which generates the fakes once and detaches them for the
  discriminator; in bfloat16 under CPU autocast.
- PyTorch, tuned: the same, but without gradients of the discriminator's weights in the generator's step, and
  with Adam as one fused kernel.
- PyTorch, compiled: the tuned loop with both networks passed through `torch.compile`.

Each of PyTorch's loops is tried in both memory layouts first, and the faster one is kept.

The share of the matmul rate tells how much of the machine is used: the multiplications of our step, counted
from the layers' shapes, compared with those of a product of two large square matrices of the same type in the
same time, with the same threads: the fastest of three sizes in TensorFlow and in PyTorch, measured first.
Multiplications by the zeros around an image are included.

ONEDNN_MAX_CPU_ISA limits oneDNN in all contenders, and so their convolutions. PyTorch's other kernels go on
using all that the CPU has.

`--profile` breaks down one of our steps: time by kind of operation, and speed of each convolution.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from turns import (
    Contender,
    describe_machine,
    print_table,
    same_parameters,
    serve,
    take_turns,
    torch_found,
)

Z_DIM = 100
STEP_OPTIONS: dict[str, Any] = {"beta1": 0.5, "alpha": 0.2, "smooth": 0.1}
LEARNING_RATE = 2e-4
MATMUL_SIDES = (1024, 2048, 4096)

TYPES = "float32", "bfloat16"
OURS, ARTICLE, AS_IT_COMES = "ours", "article's schedule, oneDNN on", "stock TensorFlow"
TORCH_LOOPS = "PyTorch, usual loop", "PyTorch, tuned", "PyTorch, compiled"


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
) -> tuple[Callable[..., object], dict[str, Any], Any]:
    """Build the training step of a contender in TensorFlow.

    Args:
        name: OURS, a type, and XLA or not, for one session call on shared fakes; otherwise the article's two
            calls.
        width: base_filters of both networks.
        size: of the images.
        batch: images in a step.
        intra: threads within an operation; 0 for TensorFlow's own choice.
        inter: operations at a time; 0 for TensorFlow's own choice.

    Returns:
        A function that trains one step (its arguments are passed to `Session.run`); facts: the number of
        parameters, and whether oneDNN runs some of the operations; the graph.
    """
    if name.startswith(AS_IT_COMES):
        import tensorflow  # noqa: F401  # before catdcgan can set a variable

    from catdcgan.graph import training_graph
    from catdcgan.model import model_inputs, model_loss, model_optimizers
    from catdcgan.settings import Settings
    from catdcgan.tf1 import tf

    shape = (size, size, 3)
    with tf.Graph().as_default() as graph:
        if name.startswith(OURS):
            sizes: dict[str, Any] = {"image_size": size, "z_dim": Z_DIM, "base_filters": width}
            how: dict[str, Any] = {"mixed_precision": "bfloat16" in name, "xla": "XLA" in name}
            net = training_graph(Settings(**how, **sizes, **STEP_OPTIONS))
            placeholders = net.input_real, net.input_z, net.lr_G, net.lr_D
            calls = [[net.metrics, net.step]]
        else:
            real, z, lr_G, lr_D = placeholders = model_inputs(shape, Z_DIM)
            d_loss, g_loss = model_loss(real, z, 3, STEP_OPTIONS["alpha"], STEP_OPTIONS["smooth"], width)
            d_step, g_step = model_optimizers(d_loss, g_loss, lr_D, lr_G, STEP_OPTIONS["beta1"])
            calls = [[d_loss, d_step], [g_loss, g_step]]
        initialize = tf.global_variables_initializer()
        parameters = sum(variable.shape.num_elements() for variable in tf.trainable_variables())
    config = tf.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    session = tf.Session(graph=graph, config=config)
    session.run(initialize)
    batches = itertools.cycle(synthetic_batches(batch, size))

    def step(**options: object) -> None:
        feed = dict(zip(placeholders, [*next(batches), LEARNING_RATE, LEARNING_RATE], strict=True))
        for call in calls:
            session.run(call, feed, **options)

    ran = tf.RunMetadata()
    step(options=tf.RunOptions(output_partition_graphs=True), run_metadata=ran)
    onednn = any(node.op.startswith("_Mkl") for part in ran.partition_graphs for node in part.node)
    return step, {"parameters": parameters, "oneDNN": onednn}, graph


def matmul_step(side: int, kind: str, intra: int, inter: int) -> Callable[[], object]:
    """Multiply two square matrices in TensorFlow."""
    from catdcgan.tf1 import tf

    with tf.Graph().as_default() as graph:
        left, right = (tf.get_variable(name, (side, side), getattr(tf, kind)) for name in ("left", "right"))
        product = tf.matmul(left, right).op
        initialize = tf.global_variables_initializer()
    config = tf.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
    session = tf.Session(graph=graph, config=config)
    session.run(initialize)
    return lambda: session.run(product)


def torch_work(name: str, width: int, options: argparse.Namespace) -> None:
    """In a child process: run one of PyTorch's contenders."""
    import torch
    from torch_networks import training_step

    if options.intra:
        torch.set_num_threads(options.intra)
    kind = torch.bfloat16 if "bfloat16" in name else torch.float32
    if "matmul" in name:
        left, right = (torch.randn(options.size, options.size).to(kind) for _ in range(2))
        serve(lambda: left @ right)
        return
    layout = torch.channels_last if "channels_last" in name else torch.contiguous_format
    compiled = "compiled" in name
    step, parameters = training_step(
        synthetic_batches(options.batch, options.size),
        width,
        layout,
        tuned=compiled or "tuned" in name,
        compiled=compiled,
        bfloat16=kind == torch.bfloat16,
    )
    serve(step, parameters=parameters)


def work(name: str, width: int, options: argparse.Namespace) -> None:
    """In a child process: run the contender of this name."""
    threads = options.intra, options.inter
    if name.startswith("PyTorch"):
        torch_work(name, width, options)
    elif "matmul" in name:
        serve(matmul_step(options.size, name.split(", ")[-1], *threads))
    else:
        step, facts, _ = tensorflow_step(name, width, options.size, options.batch, *threads)
        serve(step, **facts)


def start(name: str, width: int, options: argparse.Namespace, size: int = 0) -> Contender:
    """Start the process of a contender; `size` is the side of its matrices."""
    arguments = ["--worker", name, "--widths", str(width), "--size", str(size or options.size)]
    for option in ("batch", "intra", "inter"):
        arguments += [f"--{option}", str(getattr(options, option))]
    return Contender(arguments, unset=["TF_ENABLE_ONEDNN_OPTS"] if name.startswith(AS_IT_COMES) else [])


def start_torch(kind: str, width: int, options: argparse.Namespace) -> dict[str, Contender]:
    """Start PyTorch's loops, each in the memory layout that is faster on this machine."""
    chosen = {}
    for loop in TORCH_LOOPS:
        names = [f"{loop}, {layout}, {kind}" for layout in ("contiguous", "channels_last")]
        layouts = {name: start(name, width, options) for name in names}
        seconds = take_turns(layouts, dict.fromkeys(layouts, 1), 3)
        slower, faster = sorted(layouts, key=lambda name: -seconds[name])
        print(
            f"- {slower}: {seconds[slower] / seconds[faster]:.2f} times as long as the other layout, left out"
        )
        layouts[slower].stop()
        chosen[faster] = layouts[faster]
    print(flush=True)
    return chosen


def matmul_rates(kinds: Sequence[str], options: argparse.Namespace, torch: bool) -> dict[str, float]:
    """Multiply-adds a second of the fastest product of two matrices, for float32 and each type of `kinds`."""
    kinds = sorted({"float32", *kinds})
    names = {
        f"{library}, matmul {side}, {kind}": (side, kind)
        for kind in kinds
        for library in (["TensorFlow", "PyTorch"] if torch else ["TensorFlow"])
        for side in MATMUL_SIDES
    }
    contenders = {name: start(name, 1, options, side) for name, (side, _) in names.items()}
    steps = {name: (2 * MATMUL_SIDES[-1] // side) ** 2 // 4 for name, (side, _) in names.items()}
    seconds = take_turns(contenders, steps, options.rounds)
    for contender in contenders.values():
        contender.stop()
    rates: dict[str, float] = dict.fromkeys(kinds, 0)
    for name, (side, kind) in names.items():
        rates[kind] = max(rates[kind], side**3 / seconds[name])
    rates_text = ", ".join(f"{2 * rate / 1e9:.0f} GFLOP/s in {kind}" for kind, rate in rates.items())
    print(f"Matmul: {rates_text}.\n", flush=True)
    return rates


def compare(kind: str, width: int, rates: dict[str, float], options: argparse.Namespace, torch: bool) -> None:
    """Print the table of one type and width; `rates` are those of `matmul_rates`."""
    macs = step_macs(width, options.size)
    print(f"## Width {width}, {kind}: {options.size} px, batches of {options.batch}\n")
    names = [f"{OURS}, {kind}", *([ARTICLE, AS_IT_COMES] if kind == "float32" else [f"{OURS}, float32"])]
    contenders = {name: start(name, width, options) for name in names}
    if torch:
        contenders |= start_torch(kind, width, options)
    parameters = same_parameters(contenders)
    count = max(1, options.steps * 16 // width)
    seconds = take_turns(contenders, dict.fromkeys(contenders, count), options.rounds)
    for contender in contenders.values():
        contender.stop()
    print(
        f"{parameters:,} parameters; medians of {options.rounds} rounds of {count} steps. "
        f"Our step: {macs / 1e9:.3f} billion multiply-adds an image.\n"
    )
    ours = seconds[names[0]]
    rows = []
    for name, contender in contenders.items():
        onednn = "on" if contender.facts.get("oneDNN") else "off"
        rate = rates["bfloat16" if "bfloat16" in name else "float32"]
        rows.append(
            [
                f"{name} (oneDNN {onednn})" if name == AS_IT_COMES else name,
                f"{seconds[name]:.3f}",
                f"{options.batch / seconds[name]:.2f}",
                f"{seconds[name] / ours:.2f} x",
                f"{options.batch * macs / seconds[name] / rate:.0%}",
            ]
        )
    print_table(["", "s/step", "images/s", "ours is faster", "of the matmul rate"], rows)
    if torch:
        best = min(seconds[name] for name in contenders if name.startswith("PyTorch"))
        print(f"Ours is {best / ours:.2f} times as fast as PyTorch's fastest.\n", flush=True)


def profile(width: int, kind: str, options: argparse.Namespace) -> None:
    """Print where the time of one of our steps goes, by operation."""
    from catdcgan.tf1 import tf

    # One operation at a time: otherwise those that run in parallel would be counted twice.
    step, _, _ = tensorflow_step(f"{OURS}, {kind}", width, options.size, options.batch, options.intra, 1)
    operations: dict[str, list[float]] = defaultdict(list)
    convolutions: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(options.rounds + 1):
        metadata = tf.RunMetadata()
        step(options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
        if not number:
            continue  # the first step chooses its kernels
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                seconds = (node.op_end_rel_micros - node.op_start_rel_micros) / 1e6 / options.rounds
                operation = re.sub(r".* = (\w+)\(.*", r"\1", node.timeline_label.replace("\n", " "))
                operations[operation].append(seconds)
                layer = re.search(r"(discriminator|generator)(?:_\d+)?/(\w+)/(?:\w+/)?(\w+)$", node.node_name)
                if layer and ("Conv2D" in operation or "MatMul" in operation):
                    convolutions[f"{layer[1]}/{layer[2]}", operation].append(seconds)
    whole = sum(map(sum, operations.values()))
    print(f"Width {width}, {options.size} px, batch {options.batch}, {kind}: one step, {whole:.3f} s.\n")
    ranked = sorted(operations.items(), key=lambda item: -sum(item[1]))
    print_table(
        ["operation", "times", "ms", "share"],
        [
            [name, len(times) // options.rounds, f"{1000 * sum(times):.1f}", f"{sum(times) / whole:.1%}"]
            for name, times in ranked
            if sum(times) > whole / 1000
        ],
    )
    macs = layer_macs(width, options.size)
    print_table(
        ["layer and operation", "times", "ms", "share", "GFLOP/s"],
        [
            [
                f"{layer} {name}",
                len(times) // options.rounds,
                f"{1000 * sum(times):.1f}",
                f"{sum(times) / whole:.1%}",
                f"{2e-9 * macs[layer] * options.batch * len(times) / options.rounds / sum(times):.0f}",
            ]
            for (layer, name), times in sorted(convolutions.items())
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
    text = "(default: float32, and bfloat16 where the CPU multiplies it)"
    parser.add_argument("--types", nargs="+", choices=TYPES, help=text)
    parser.add_argument("--profile", action="store_true", help="take our step apart instead")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.widths[0], options)
        return
    from catdcgan.tf1.device import multiplies_bfloat16

    kinds = options.types or (TYPES if multiplies_bfloat16() else TYPES[:1])
    print(f"{describe_machine()}\n")
    torch = not options.profile and torch_found()
    rates = {} if options.profile else matmul_rates(kinds, options, torch)
    for width in options.widths:
        for kind in kinds:
            if options.profile:
                profile(width, kind, options)
            else:
                compare(kind, width, rates, options, torch)


if __name__ == "__main__":
    main()
