"""The graph that training runs: the article's functions, joined to one step of both networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, NamedTuple

from catdcgan.augment import diff_augment
from catdcgan.kernel_gradient import fast_kernel_gradients
from catdcgan.model import D_OUTPUTS, model_inputs, model_loss, network_step
from catdcgan.sample import sampling_output
from catdcgan.tf1 import GPUS, tf


class TrainingGraph(NamedTuple):
    """What training needs of its graph."""

    pixels: tf.Tensor  # real images as uint8 from 0 to 255
    input_real: tf.Tensor  # the same as float32 in [-1, 1]; can be fed in place of the pixels
    input_z: tf.Tensor
    lr_G: tf.Tensor
    lr_D: tf.Tensor
    step: tf.Operation
    values: list[tf.Tensor]  # d_loss, g_loss, and the discriminator's mean output on real and on fake
    counters: list[tf.Variable]  # int64 scalars: steps done, epochs done, steps done in the epoch that runs
    drawn_with: dict[str, tf.Variable]  # the generator's variables, or their averages, by the article's names
    all_finite: tf.Tensor  # whether every variable is a finite number


def training_graph(
    image_shape: tuple[int, int, int],
    z_dim: int,
    beta1: float,
    alpha: float,
    smooth: float,
    base_filters: int,
    seed: int,
    average_decay: float,
    augment: Sequence[str],
    xla: bool = False,
    mixed_precision: bool = False,
) -> TrainingGraph:
    """Build, in the default graph, the step that trains both networks in one session call.

    The discriminator's step comes first; the generator's then goes through the discriminator that it made. In
    the article these are two session calls, each of which makes the same forgeries from the same latents.
    Here both share them: the same mathematics for less work.

    Args:
        image_shape: (s, s, c).
        z_dim: length of a latent.
        beta1: Adam's decay of the first moment.
        alpha: slope of the leaky ReLU below zero.
        smooth: how far the label of real images stays below 1.
        base_filters: width of both networks.
        seed: of initial values and of `augment`.
        average_decay: of the generator's moving average; 0 for none.
        augment: `diff_augment` policies.
        xla: compile the step with XLA.
        mixed_precision: multiply in bfloat16; variables, batch norm, losses and Adam stay in float32
            (Micikevicius et al. 2017, arXiv:1710.03740). bfloat16 has float32's range, so the losses need no
            scaling.
    """
    tf.set_random_seed(seed)
    # The first is counted by the step itself, the others are set when a checkpoint is saved.
    counters = [
        tf.get_variable(name, (), tf.int64, tf.zeros_initializer(), trainable=False)
        for name in ("global_step", "epoch", "epoch_step")
    ]
    _, input_z, lr_G, lr_D = model_inputs(image_shape, z_dim)
    # In place of the article's float32 placeholder: bytes, a quarter of that to bring to a GPU. A session
    # lets any tensor be fed, so whoever has floats feeds input_real, and the pixels are not asked for.
    pixels = tf.placeholder(tf.uint8, (None, *image_shape), name="pixels")
    input_real = tf.subtract(tf.cast(pixels, tf.float32) / 127.5, 1, name="scaled_pixels")
    uses = count()

    def augmented(images: tf.Tensor) -> tf.Tensor:
        # Three uses in a step, each with random numbers of its own that depend on seed and step alone.
        return diff_augment(images, augment, tf.stack([seed, 3 * counters[0] + next(uses)]))

    with ExitStack() as ways:
        if not GPUS:
            ways.enter_context(fast_kernel_gradients())
        if xla:
            ways.enter_context(_compiled())
        if mixed_precision:
            ways.enter_context(_bfloat16_kernels())
        d_loss, g_loss = model_loss(
            input_real,
            input_z,
            image_shape[-1],
            alpha,
            smooth,
            base_filters,
            augmented if augment else tf.identity,
            lambda loss: network_step("discriminator", loss, lr_D, beta1),
        )
        generator_variables = tf.global_variables("generator")  # before Adam adds its own
        step = network_step("generator", g_loss, lr_G, beta1)
    with tf.control_dependencies([step]):
        step = tf.assign_add(counters[0], 1).op
    drawn_with = {variable.op.name: variable for variable in generator_variables}
    if average_decay:
        averages = tf.train.ExponentialMovingAverage(average_decay, num_updates=counters[0])
        with tf.control_dependencies([step]):
            step = averages.apply(generator_variables)
        drawn_with = {name: averages.average(variable) for name, variable in drawn_with.items()}
    with tf.variable_scope(tf.get_variable_scope(), custom_getter=lambda getter, name, **_: drawn_with[name]):
        sampling_output(input_z, image_shape[-1], alpha)

    floats = [variable for variable in tf.global_variables() if variable.dtype.is_floating]
    all_finite = tf.reduce_all([tf.reduce_all(tf.is_finite(variable)) for variable in floats])
    values = [d_loss, g_loss, *tf.get_collection(D_OUTPUTS)]
    return TrainingGraph(
        pixels, input_real, input_z, lr_G, lr_D, step, values, counters, drawn_with, all_finite
    )


def _compiled() -> Any:
    """Mark the operations made meanwhile for XLA, but no random numbers: it would draw others."""
    random = ("TruncatedNormal", "RandomUniform", "StatelessRandom")
    return tf.xla.experimental.jit_scope(lambda node: not node.op.startswith(random))


@contextmanager
def _bfloat16_kernels() -> Iterator[None]:
    """Give the layers that are made meanwhile their kernels in bfloat16; the variables stay float32."""

    def shortened(getter: Callable[..., tf.Variable], name: str, *args: Any, **named: Any) -> tf.Tensor:
        variable = getter(name, *args, **named)
        return tf.cast(variable, tf.bfloat16) if name.endswith("/kernel") else variable

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=shortened):
        yield
