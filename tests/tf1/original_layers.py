"""All that can be seen of a layer from outside, measured alike on ours and on the original ``tf.layers``.

The originals need ``TF_USE_LEGACY_KERAS=1`` for a whole process, so test_layers.py runs this file as a
program, ``python original_layers.py OUT.npz``, and calls `measure` in its own process for our side.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf


class Case(NamedTuple):
    layer: str
    input_shape: tuple[int, ...]
    arguments: dict[str, Any]


def _convolution_cases() -> dict[str, Case]:
    """Both convolutions, both paddings, strides 1 and 2, sizes that stride 2 divides and does not."""
    cases = {}
    for layer in ("conv2d", "conv2d_transpose"):
        for padding in ("SAME", "valid"):
            for strides in (1, 2):
                for height, width in ((8, 8), (7, 9)):
                    arguments = {"filters": 4, "kernel_size": 5, "strides": strides, "padding": padding}
                    cases[f"{layer} {padding} stride {strides} size {height}x{width}"] = Case(
                        layer, (3, height, width, 2), arguments
                    )
        cases[f"{layer} defaults"] = Case(layer, (3, 6, 6, 2), {"filters": 3, "kernel_size": 3})
        unequal = {"filters": 3, "kernel_size": (2, 5), "strides": (2, 1), "padding": "same"}
        cases[f"{layer} unequal sides"] = Case(layer, (3, 9, 7, 2), unequal)
        gaps = {"filters": 3, "kernel_size": 2, "strides": 3}
        cases[f"{layer} stride over kernel size"] = Case(layer, (3, 7, 7, 2), gaps)
    return cases


CASES = {
    "dense": Case("dense", (5, 7), {"units": 3}),
    "dense one logit": Case("dense", (5, 7), {"units": 1, "name": "logit"}),
    **_convolution_cases(),
    "batch norm defaults": Case("batch_normalization", (3, 4, 5, 6), {}),
    "batch norm training": Case("batch_normalization", (3, 4, 5, 6), {"training": True}),
    "batch norm training, article": Case(
        "batch_normalization", (3, 4, 5, 6), {"training": True, "epsilon": 1e-5, "name": "batch_norm1"}
    ),
    "batch norm training, quick": Case(
        "batch_normalization", (2, 3, 3, 4), {"training": True, "momentum": 0.6, "epsilon": 0.1}
    ),
    "batch norm viewing, article": Case(
        "batch_normalization", (3, 4, 5, 6), {"training": False, "epsilon": 1e-5, "name": "batch_norm1"}
    ),
}

# Enough weights in each kernel for steady statistics.
LARGE_CASES = {
    "dense": Case("dense", (2, 200), {"units": 300}),
    "conv2d": Case("conv2d", (2, 8, 8, 48), {"filters": 64, "kernel_size": 5}),
    "conv2d_transpose": Case("conv2d_transpose", (2, 8, 8, 48), {"filters": 64, "kernel_size": 5}),
}
# What makes the kernel; None is the layer's own choice.
INITIALIZERS = {
    "default": None,
    "truncated normal": tf.truncated_normal_initializer(stddev=0.02, seed=7),
    "glorot": tf.glorot_uniform_initializer(seed=7),
}


def measure(layers: Any) -> dict[str, np.ndarray]:
    """Run every case. ``layers`` has the four functions; a key is "case: what was measured"."""
    measured: dict[str, np.ndarray] = {}
    for name, case in CASES.items():
        measured |= {f"{name}: {what}": np.asarray(value) for what, value in _run(layers, case).items()}
    for name, case in LARGE_CASES.items():
        for kind, initializer in INITIALIZERS.items():
            kernel, bias = _initial_values(layers, case, initializer)
            measured |= {f"{name}, {kind}: initial kernel": kernel, f"{name}, {kind}: initial bias": bias}
    return measured


def _run(layers: Any, case: Case) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def numbers(shape: Sequence[int]) -> np.ndarray:
        return rng.normal(0.5, 1.0, shape).astype(np.float32)

    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, (None, *case.input_shape[1:]))
        with tf.variable_scope("net"):
            y = getattr(layers, case.layer)(x, **case.arguments)
        variables = {variable.op.name: variable for variable in tf.global_variables()}
        trainable = {variable.op.name: variable for variable in tf.trainable_variables()}
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS, "net")
        assert updates == tf.get_collection(tf.GraphKeys.UPDATE_OPS), "an update outside its layer's scope"
        measured: dict[str, Any] = {
            "output shape in the graph": [-1 if side is None else side for side in y.shape.as_list()],
            "output dtype": y.dtype.name,
            "variables, in order": [
                f"{name} {variable.shape.as_list()} {variable.dtype.base_dtype.name}"
                for name, variable in variables.items()
            ],
            "trainable variables": list(trainable),
            "number of updates": len(updates),
        }

        sess.run(tf.global_variables_initializer())
        for name in sorted(variables):
            value = numbers(variables[name].shape.as_list())
            if name.endswith("variance"):
                value = np.abs(value) + 0.1
            sess.run(variables[name].initializer, {variables[name].initializer.inputs[1]: value})
        batches = [numbers(case.input_shape) for _ in range(4)]

        # A weighted sum: the plain sum of a normalized batch is the same for every input, its gradient 0.
        weights = numbers(sess.run(y, {x: batches[0]}).shape)
        gradients = tf.gradients(y * weights, [x, *trainable.values()])
        measured["output"], *values = sess.run([y, *gradients], {x: batches[0]})
        for name, value in zip(["inputs", *trainable], values, strict=True):
            measured[f"gradient of {name}"] = value

        for step, batch in enumerate(batches, start=1):
            sess.run(updates, {x: batch})
            for name, value in sess.run(variables).items():
                measured[f"{name} after {step} runs of the updates"] = value
        measured["output after the updates"] = sess.run(y, {x: batches[0]})
    return measured


def _initial_values(layers: Any, case: Case, initializer: Any) -> tuple[np.ndarray, np.ndarray]:
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(5)
        x = tf.placeholder(tf.float32, case.input_shape)
        getattr(layers, case.layer)(x, **case.arguments, kernel_initializer=initializer)
        sess.run(tf.global_variables_initializer())
        kernel, bias = sess.run(tf.global_variables())
    return kernel, bias


if __name__ == "__main__":
    measured: dict[str, Any] = measure(tf.layers)
    np.savez(sys.argv[1], **measured)
