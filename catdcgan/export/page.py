"""Export a generator as a page: one HTML file in which a browser generates its pictures, to play with.

What the page is made of lies in the folder ``page`` beside this file. `export_page` puts it all into one
file, with the weights in the order in which the page's kernel reads them.
"""

from __future__ import annotations

import json
import math
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files as package_files
from typing import Any

import numpy as np

from catdcgan.errors import InputError
from catdcgan.explore.directions import Directions
from catdcgan.explore.properties import PROPERTIES
from catdcgan.files import atomic_write
from catdcgan.latents import random_latents
from catdcgan.run.checkpoint import read_architecture
from catdcgan.sampling import read_weights

LARGEST_PAGE = 100_000_000  # bytes; a phone should not be asked to load more
LATENTS = 1000  # the first ones of seed 0: cat 17 of the page is cat 17 of `catdcgan sample`
LIMITS = {"uniform": 1, "normal": 8}  # the largest number in a latent of the page, which 32767 stands for
# The rows of a 5x5 kernel that meet an input, for even and for odd rows of the output, from the upper input
# to the lower one; so it is with columns. With padding "SAME" at stride 2, row k takes input i to output
# 2 i + k - 1.
DOUBLING = ((3, 1), (4, 2, 0))
SAME_SIDE = ((4, 3, 2, 1, 0),)  # the last layer, at stride 1
ONE_PIXEL = ((0,),)  # the dense layer, as a convolution of one pixel


def export_page(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    directions: Directions | None = None,
    pixel_range: float = 1.0,
    alpha: float = 0.2,
    z_distribution: str = "uniform",
) -> None:
    """Write the generator in a checkpoint as a page to play with: one HTML file that needs no other.

    Its pictures are those of `sample`, up to a gray level here and there: its weights are half floats.

    Args:
        checkpoint: as in `sample`.
        out: the file.
        directions: the knobs on the page, such as `read_directions` gives; None for a page without knobs.
        pixel_range: as in `sample`.
        alpha: as in `sample`.
        z_distribution: as in `random_latents`.

    Raises:
        CheckpointError: as in `sample`.
        InputError: the page would be larger than `LARGEST_PAGE`.
        ValueError: `z_distribution` is unknown.
        OSError: the file cannot be written; an existing file is kept.
    """
    made = read_architecture(checkpoint)
    latents = random_latents(LATENTS, made.z_dim, 0, z_distribution)
    layers, weights = _pack(read_weights(checkpoint), made.image_size, alpha)
    shapes = [f"{layer['side']} × {layer['side']} × {layer['channels']}" for layer in layers[1:]]
    shapes = [f"{made.z_dim} numbers", *shapes, f"{made.image_size} × {made.image_size} × {made.channels}"]
    model = {
        "size": made.image_size,
        "channels": made.channels,
        "zDim": made.z_dim,
        "distribution": z_distribution,
        "limit": LIMITS[z_distribution],
        "pixelRange": pixel_range,
        "layers": layers,
        "stages": list(
            zip(shapes, ["random", *(f"{layer['weights']:,} weights" for layer in layers)], strict=True)
        ),
        "knobs": _knobs(directions) if directions else [],
    }
    parts = {
        "style": _text("page.css"),
        "last": f"{LATENTS - 1}",
        "z_dim": f"{made.z_dim}",
        "numbers": f"{sum(layer['weights'] for layer in layers):,}",
        "model": json.dumps(model).replace("<", "\\u003c"),  # a knob's name must not end the script
        "latents": _base64(_sixteen_bits(latents, z_distribution)),
        "kernel": _base64((package_files("catdcgan.export") / "page" / "kernel.wasm").read_bytes()),
        "network": _text("network.js"),
        "weights": _base64(weights),
        "script": _text("page.js"),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _text("page.html"))
    if (size := len(page.encode())) > LARGEST_PAGE:
        raise InputError(
            f"{checkpoint}: its page would have {size / 1e6:.1f} MB, and {LARGEST_PAGE / 1e6:g} MB are the "
            "most: take a narrower generator"
        )
    with atomic_write(out) as partial:
        partial.write_text(page, "utf-8")


def page_link(latent: np.ndarray, z_distribution: str) -> str:
    """The end of a link to the page, from # on, that shows the cat of a latent (z_dim,)."""
    return "#" + urlsafe_b64encode(_sixteen_bits(latent, z_distribution)).decode().rstrip("=")


def _sixteen_bits(latents: np.ndarray, z_distribution: str) -> bytes:
    """Latents as the page keeps them, here and in links: 16 bits a number."""
    parts = np.clip(latents / LIMITS[z_distribution], -1, 1)
    return np.rint(parts * 32767).astype("<i2").tobytes()


def _text(name: str) -> str:
    return (package_files("catdcgan.export") / "page" / name).read_text("utf-8")


def _base64(content: bytes) -> str:
    return b64encode(content).decode()


def _knobs(directions: Directions) -> list[dict[str, Any]]:
    """The directions as the page wants them, with the words beside their sliders."""
    knobs = []
    for name, vector, (low, high) in zip(
        directions.names, directions.vectors.tolist(), directions.limits.tolist(), strict=True
    ):
        known = PROPERTIES.get(name)
        label = f"Knob {name}" if name.isdecimal() else name.replace("-", " ").capitalize()
        ends = (known.less, known.more) if known else ("less", "more")
        knobs.append(
            {"label": label, "less": ends[0], "more": ends[1], "low": low, "high": high, "vector": vector}
        )
    return knobs


def _pack(
    weights: Mapping[str, np.ndarray], image_size: int, alpha: float
) -> tuple[list[dict[str, Any]], bytes]:
    """Describe the generator's layers for network.js, and pack their weights.

    Returns:
        A dictionary for each layer, and the bytes: all biases as float32, then all kernels as float16, in
        units of the layer's ``scale``, its largest weight, so that none overflows.
    """
    side = image_size // 16
    todo: list[tuple[str, Sequence[Sequence[int]], int, int]] = [("dense", ONE_PIXEL, 1, 0)]
    for layer in range(1, 5):
        todo.append((f"trans_conv{layer}", DOUBLING, side, 1))
        side *= 2
    todo.append(("logits", SAME_SIDE, side, 2))
    layers, biases, kernels = [], [], []
    for name, taps, side, pad in todo:
        kernel, bias = _kernel_and_bias(weights, name)
        stored = weights[f"generator/{name}/kernel"].shape
        scale = float(np.abs(kernel).max()) or 1.0
        biases.append(bias.astype("<f4").tobytes())
        kernels.append((_in_order(kernel, taps) / scale).astype("<f2").tobytes())
        layers.append(
            {
                "side": side,  # of the input, in pixels
                "channels": stored[-1],  # of the input
                "pad": pad,  # width of the border of zeros around the input
                "from": kernel.shape[3],  # channels, filled up
                "to": kernel.shape[2],
                "taps": [len(rows) for rows in taps],  # for each parity; there are as many as the stride
                "scale": scale,
                "slope": 1 if name == "logits" else alpha,
                "weights": math.prod(stored) + len(weights[f"generator/{name}/bias"]),
            }
        )
    return layers, b"".join(biases + kernels)


def _kernel_and_bias(weights: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """A layer's kernel (height, width, outputs, inputs) and bias (outputs,), with its batch norm in them.

    Batch norm with the moving averages multiplies by a constant and adds one. Inputs and outputs are filled
    up with zeros to a multiple of 4.
    """
    kernel, bias = (weights[f"generator/{name}/{part}"].astype(np.float64) for part in ("kernel", "bias"))
    if name == "dense":
        kernel = kernel.T[None, None]
    if name.startswith("trans_conv"):
        gamma, beta, mean, variance = (
            weights[f"generator/batch_{name}/{part}"].astype(np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + 1e-5)
        kernel, bias = kernel * factor[:, None], (bias - mean) * factor + beta
    outputs, inputs = (-count % 4 for count in kernel.shape[2:])
    return np.pad(kernel, ((0, 0), (0, 0), (0, outputs), (0, inputs))), np.pad(bias, (0, outputs))


def _in_order(kernel: np.ndarray, taps: Sequence[Sequence[int]]) -> np.ndarray:
    """A kernel's weights in the order in which kernel.wat reads them.

    By phase of the output, 4 outputs, row, column, input, output of these 4.
    """
    parts = []
    for rows in taps:
        for columns in taps:
            phase = kernel[np.ix_(rows, columns)]  # (rows, columns, outputs, inputs)
            fours = phase.reshape(*phase.shape[:2], -1, 4, phase.shape[3])
            parts.append(fours.transpose(2, 0, 1, 4, 3).ravel())
    return np.concatenate(parts)
