"""Export a generator as an ONNX file, for runtimes without TensorFlow."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from catdcgan import __version__
from catdcgan.errors import InputError
from catdcgan.files import atomic_write
from catdcgan.run.checkpoint import Architecture, read_architecture
from catdcgan.sampling import read_weights

OPSET, IR_VERSION = 13, 7  # of 2020, so that older runtimes can read the file too
LARGEST_FILE = 2**31 - 1  # bytes, a limit of the format

Node = tuple[str, list[str], str, dict[str, Any]]  # operation, inputs, output, attributes


def export_onnx(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    half: bool = False,
    pixel_range: float = 1.0,
    alpha: float = 0.2,
) -> None:
    """Write the generator in a checkpoint as an ONNX file.

    Its input is ``latents``, float32 (n, z_dim), and its output ``images``, uint8 (n, s, s, c). These are the
    images of `sample`, except where a sum that is rounded differently ends at the next gray level.

    Args:
        checkpoint: as in `sample`.
        out: the file.
        half: store the kernels in half floats, which halves the file. Runtimes convert them to float32 and
            compute in that.
        pixel_range: as in `sample`.
        alpha: as in `sample`.

    Raises:
        CheckpointError: as in `sample`.
        InputError: the package onnx is missing or does not fit, or the generator is too large for the format.
        OSError: the file cannot be written; an existing file is kept.
    """
    try:
        onnx = importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(f"this needs the package onnx ({error}): pip install -e '.[onnx]'") from None
    except AttributeError as error:  # from 1.19 on it uses what the ml_dtypes of TensorFlow 2.16 lacks
        raise InputError(f"onnx does not fit this TensorFlow ({error}): pip install 'onnx<1.19'") from None
    made = read_architecture(checkpoint)
    nodes, values = _describe(made, read_weights(checkpoint), pixel_range, alpha)
    if half:
        nodes, values = _in_half_floats(nodes, values)
    if (size := sum(value.nbytes for value in values.values())) > LARGEST_FILE:
        raise InputError(f"{checkpoint}: its {size:,} bytes are too many for an ONNX file")
    helper, kind = onnx.helper, onnx.TensorProto
    image = ["n", made.image_size, made.image_size, made.channels]
    graph = helper.make_graph(
        [helper.make_node(name, inputs, [output], **rest) for name, inputs, output, rest in nodes],
        "generator",
        [helper.make_tensor_value_info("latents", kind.FLOAT, ["n", made.z_dim])],
        [helper.make_tensor_value_info("images", kind.UINT8, image)],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="catdcgan",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model)
    with atomic_write(out) as partial:
        partial.write_bytes(model.SerializeToString())


def _describe(
    made: Architecture, weights: Mapping[str, np.ndarray], pixel_range: float, alpha: float
) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Describe `generator` and `to_pixels` as ONNX operations; see model.py for the shapes.

    Inside, images are (n, c, s, s), as ONNX has them.

    Returns:
        The nodes in order, from ``latents`` to ``images``, and the constants by name.
    """
    side, channels = made.image_size // 16, made.base_filters * 16
    values = {name.removeprefix("generator/"): value for name, value in weights.items()}
    for name in ("dense/kernel", "dense/bias"):  # from (height, width, channel) to (channel, height, width)
        shape = values[name].shape
        values[name] = values[name].reshape(-1, side * side, channels).swapaxes(1, 2).reshape(shape)
    values["shape"] = np.array([-1, channels, side, side])
    nodes: list[Node] = []

    def add(operation: str, *inputs: str, **attributes: Any) -> str:
        nodes.append((operation, list(inputs), f"{operation}{len(nodes)}", attributes))
        return nodes[-1][2]

    x = add("Gemm", "latents", "dense/kernel", "dense/bias")
    x = add("Reshape", add("LeakyRelu", x, alpha=alpha), "shape")
    for layer in ("trans_conv1", "trans_conv2", "trans_conv3", "trans_conv4", "logits"):
        kernel = f"{layer}/kernel"
        values[kernel] = values[kernel].transpose(3, 2, 0, 1)  # (channels, filters, height, width)
        # TensorFlow's padding "SAME" cuts 3 pixels at stride 2, the odd one at the end, and 4 at stride 1.
        last = layer == "logits"
        stride, pads = (1, [2, 2, 2, 2]) if last else (2, [1, 1, 2, 2])
        x = add("ConvTranspose", x, kernel, f"{layer}/bias", strides=[stride, stride], pads=pads)
        if not last:
            statistics = ("gamma", "beta", "moving_mean", "moving_variance")
            names = [f"batch_{layer}/{name}" for name in statistics]
            x = add("BatchNormalization", x, *names, epsilon=1e-5)
            x = add("LeakyRelu", x, alpha=alpha)
    constants = {"scale": 127.5 / pixel_range, "gray": 127.5, "black": 0, "white": 255}
    values |= {name: np.array(value, np.float32) for name, value in constants.items()}
    x = add("Round", add("Add", add("Mul", add("Tanh", x), "scale"), "gray"))
    x = add("Cast", add("Clip", x, "black", "white"), to=2)  # uint8
    nodes.append(("Transpose", [x], "images", {"perm": [0, 2, 3, 1]}))
    return nodes, values


def _in_half_floats(
    nodes: list[Node], values: Mapping[str, np.ndarray]
) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Store kernels as float16, and first of all cast them to float32."""
    kernels = [name for name in values if name.endswith("/kernel")]
    casts: list[Node] = [("Cast", [f"{name}/half"], name, {"to": 1}) for name in kernels]  # float32
    halves = {f"{name}/half": values[name].astype(np.float16) for name in kernels}
    rest = {name: value for name, value in values.items() if name not in kernels}
    return casts + nodes, rest | halves
