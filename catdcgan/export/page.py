"""Export a generator as a page: one HTML file in which a browser generates its pictures, to play with.

What the page is made of lies in the folder ``page`` beside this file. `export_page` puts it all into one
file, with the weights in the order in which the page's kernel reads them.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
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

LARGEST_PAGE = 100_000_000  # bytes; more than that no phone opens
LATENTS = 1000  # the first ones of seed 0: cat 17 of the page is cat 17 of `catdcgan sample`
LIMITS = {"uniform": 1, "normal": 8}  # the largest number in a latent of the page, which 32767 stands for
# For each parity of an output's row (or column), the kernel's rows that fall on an input, from the input before
# to that behind. With padding "SAME" at stride 2, input i and kernel row k meet in output row 2 i + k - 1.
DENSE, DOUBLING, LAST = [[0]], [[3, 1], [4, 2, 0]], [[4, 3, 2, 1, 0]]


def export_page(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    directions: Directions | None = None,
    pixel_range: float = 1.0,
    alpha: float = 0.2,
    z_distribution: str = "uniform",
) -> None:
    """Write the generator in a checkpoint as one HTML file that needs nothing else, to play with in a browser.

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
    limit = LIMITS[z_distribution]
    layers, weights = _pack(read_weights(checkpoint), made.image_size, alpha)
    model = {
        "size": made.image_size,
        "channels": made.channels,
        "zDim": made.z_dim,
        "distribution": z_distribution,
        "limit": limit,
        "pixelRange": pixel_range,
        "layers": layers,
        "knobs": _knobs(directions) if directions else [],
    }
    parts = {
        "style": _text("page.css"),
        "model": json.dumps(model).replace("<", "\\u003c"),  # a knob's name must not end the script
        "latents": _base64(np.rint(latents / limit * 32767).astype("<i2").tobytes()),
        "kernel": _base64((package_files("catdcgan.export") / "page" / "kernel.wasm").read_bytes()),
        "network": _text("network.js"),
        "script": _text("page.js"),
        "weights": _base64(weights),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _text("page.html"))
    if (size := len(page.encode())) > LARGEST_PAGE:
        raise InputError(
            f"{checkpoint}: its page would have {size / 1e6:.0f} MB, and {LARGEST_PAGE / 1e6:.0f} MB are the "
            "most: take a narrower generator"
        )
    with atomic_write(out) as partial:
        partial.write_text(page, "utf-8")


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
    """Describe the generator's layers, and pack its weights.

    Batch norm with the moving averages multiplies and adds constants, so it goes into the kernel and the bias
    before it. Channels are filled up with zeros to a multiple of 4.

    Returns:
        For each layer a dictionary, and the bytes: all biases as float32, then all kernels as float16 in units
        of the layer's ``scale``, its largest weight, so that none overflows. A kernel is sorted by phase of
        the output, 4 output channels, row, column, input channel, output channel.
    """
    values = {
        name.removeprefix("generator/"): value.astype(np.float64) for name, value in weights.items()
    }
    dense = values["dense/kernel"].T  # (outputs, inputs), as transposed convolutions have it
    todo: list[tuple[str, np.ndarray, Sequence[Sequence[int]], int, int]] = [
        ("dense", dense[None, None], DENSE, 1, 0)
    ]
    side = image_size // 16
    for layer in range(1, 5):
        todo.append((f"trans_conv{layer}", values[f"trans_conv{layer}/kernel"], DOUBLING, side, 1))
        side *= 2
    todo.append(("logits", values["logits/kernel"], LAST, side, 2))
    layers, biases, halves = [], [], []
    for name, kernel, taps, side, pad in todo:
        bias, numbers = values[f"{name}/bias"], kernel.size + len(kernel[0, 0])
        if f"batch_{name}/gamma" in values:
            gamma, beta, mean, variance = (
                values[f"batch_{name}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            factor = gamma / np.sqrt(variance + 1e-5)
            kernel, bias = kernel * factor[:, None], (bias - mean) * factor + beta
        fill = [-count % 4 for count in kernel.shape[2:]]
        kernel = np.pad(kernel, ((0, 0), (0, 0), (0, fill[0]), (0, fill[1])))
        scale = float(np.abs(kernel).max()) or 1.0
        biases.append(np.pad(bias, (0, fill[0])).astype("<f4").tobytes())
        for rows in taps:
            for columns in taps:
                phase = kernel[rows][:, columns]  # (rows, columns, outputs, inputs)
                fours = phase.reshape(*phase.shape[:2], -1, 4, phase.shape[3]).transpose(2, 0, 1, 4, 3)
                halves.append((fours / scale).astype("<f2").tobytes())
        layers.append(
            {
                "name": name,
                "side": side,
                "pad": pad,
                "channels": weights[f"generator/{name}/kernel"].shape[-1],
                "from": kernel.shape[3],
                "to": kernel.shape[2],
                "taps": [len(rows) for rows in taps],
                "scale": scale,
                "slope": 1 if name == "logits" else alpha,
                "numbers": numbers,
            }
        )
    return layers, b"".join(biases + halves)
