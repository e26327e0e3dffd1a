"""The training graph: the article's functions, combined into one step that trains both networks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from catdcgan.diff_augment import augment_images, batch_size, follow_overfitting
from catdcgan.model import (
    discriminator,
    discriminator_loss,
    generator,
    generator_loss,
    model_inputs,
)
from catdcgan.parallel.sums import batch_mean, network_step, shared_rows
from catdcgan.run.tensors import COUNTERS, TrainingGraph
from catdcgan.sampling import batch_statistics, sampling_output
from catdcgan.settings import IMAGE_MODES, PROBABILITY, Settings
from catdcgan.tf1 import GPUS, tf
from catdcgan.tf1.device import check_bfloat16, takes_bfloat16
from catdcgan.tf1.kernel_gradient import fast_kernel_gradients


def training_graph(settings: Settings) -> TrainingGraph:
    """Build the training step in the default graph: one session call trains both networks.

    The discriminator's step comes first; the generator's then uses the updated discriminator. The article
    makes two session calls for this, each generating the same fakes. Here both steps share them: the same
    mathematics for less work.

    Raises:
        ValueError: the image size or an augmentation policy is not supported.
        InputError: mixed precision cannot work, as in `check_bfloat16`.
    """
    tf.set_random_seed(settings.seed)
    # The step itself increments the first; the others are set when a checkpoint is saved.
    counters = [
        tf.get_variable(name, (), tf.int64, tf.zeros_initializer(), trainable=False) for name in COUNTERS
    ]
    image_shape = (settings.image_size, settings.image_size, IMAGE_MODES[settings.image_mode])
    _, input_z, lr_G, lr_D = model_inputs(image_shape, settings.z_dim)
    # Bytes replace the article's float32 placeholder: a quarter of the data to copy to a GPU. Any tensor can
    # be fed, so a caller with floats feeds input_real, and then no pixels are needed.
    pixels = tf.placeholder(tf.uint8, (None, *image_shape), name="pixels")
    input_real = tf.subtract(tf.cast(pixels, tf.float32) / 127.5, 1, name="scaled_pixels")

    probability = None  # of augmentation, if it follows the discriminator
    if settings.augment_target:
        probability = tf.get_variable(PROBABILITY, (), tf.float32, tf.zeros_initializer(), trainable=False)
    augment = _augmentation(settings, counters[0], probability)
    alpha, width = settings.alpha, settings.base_filters
    with _execution_options(settings):
        fake = generator(input_z, image_shape[-1], True, alpha, width, settings.image_size)
        out_real, logits_real = discriminator(augment(input_real), False, alpha, width)
        out_fake, logits_fake = discriminator(augment(fake), True, alpha, width)
        d_real, d_fake = tf.reduce_mean(out_real), tf.reduce_mean(out_fake)
        d_loss = discriminator_loss(logits_real, logits_fake, settings.smooth)
        d_step = network_step("discriminator", d_loss, lr_D, settings.beta1)
        with tf.control_dependencies([d_step]):  # the same fakes, judged by the updated discriminator
            _, logits_fake = discriminator(augment(fake), True, alpha, width)
        g_loss = generator_loss(logits_fake)
        generator_variables = tf.global_variables("generator")  # before Adam adds its own
        g_step = network_step("generator", g_loss, lr_G, settings.beta1)

    metrics = {"d_loss": d_loss, "g_loss": g_loss, "d_real": d_real, "d_fake": d_fake}
    with tf.control_dependencies([g_step]):
        step = tf.assign_add(counters[0], 1).op
        if probability is not None:
            target = settings.augment_target
            metrics[PROBABILITY], moved = _moved_probability(probability, logits_real, target)
            step = tf.group(step, moved)
    sampling_variables = {variable.op.name: variable for variable in generator_variables}
    if settings.average_decay:
        averages = tf.train.ExponentialMovingAverage(settings.average_decay, num_updates=counters[0])
        with tf.control_dependencies([step]):
            step = averages.apply(generator_variables)
        sampling_variables = {
            name: averages.average(variable) for name, variable in sampling_variables.items()
        }
    statistics = _add_sampling(input_z, settings, sampling_variables)
    floats = [variable for variable in tf.global_variables() if variable.dtype.is_floating]
    return TrainingGraph(
        pixels=pixels,
        input_real=input_real,
        input_z=input_z,
        lr_G=lr_G,
        lr_D=lr_D,
        step=step,
        metrics=metrics,
        counters=counters,
        sampling_variables=sampling_variables,
        statistics=statistics,
        all_finite=tf.reduce_all([tf.reduce_all(tf.is_finite(variable)) for variable in floats]),
    )


def _augmentation(
    settings: Settings, step: tf.Variable, probability: tf.Variable | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function applied to images before the discriminator sees them.

    A step calls it three times, each time with random numbers that depend on the seed and the step alone.
    """
    uses = count()

    def augment(images: tf.Tensor) -> tf.Tensor:
        if not settings.augment:
            return tf.identity(images)  # initial values depend on the number of operations before them
        seed = tf.stack([settings.seed, 3 * step + next(uses)])
        return augment_images(images, settings.augment, seed, shared_rows(), probability)

    return augment


def _moved_probability(
    probability: tf.Variable, logits_real: tf.Tensor, target: float
) -> tuple[tf.Tensor, tf.Operation]:
    """The probability of augmentation in this step, and the operation that sets that of the next."""
    signs = batch_mean(tf.reduce_mean(tf.sign(logits_real)))
    images = batch_size(logits_real, shared_rows())
    now = probability.read_value()
    with tf.control_dependencies([now]):
        return now, follow_overfitting(probability, signs, target, images)


def _add_sampling(
    input_z: tf.Tensor, settings: Settings, variables: dict[str, tf.Variable]
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """Build the output to sample with, from these variables, and return `TrainingGraph.statistics`.

    The generator looks up its variables by name, and this getter returns the averages instead. The output is
    not needed here: later calls of `sampling_output` find it in the graph.
    """
    channels, alpha = IMAGE_MODES[settings.image_mode], settings.alpha
    with tf.variable_scope(tf.get_variable_scope(), custom_getter=lambda getter, name, **_: variables[name]):
        sampling_output(input_z, channels, alpha)
        return batch_statistics(input_z, channels, alpha) if settings.statistics_latents else {}


@contextmanager
def _execution_options(settings: Settings) -> Iterator[None]:
    """Use the faster kernel gradients inside the block, and XLA and bfloat16 if the settings say so."""
    with ExitStack() as stack:
        if not GPUS:
            stack.enter_context(fast_kernel_gradients())
        if settings.xla:
            stack.enter_context(_xla_scope())
        if takes_bfloat16(settings.mixed_precision):
            stack.enter_context(_bfloat16_layers())
        yield


def _xla_scope() -> Any:
    """Mark the operations created inside the block for XLA, except random ones: XLA's numbers differ.

    Sums over several workers are not marked either.
    """
    others = ("TruncatedNormal", "RandomUniform", "StatelessRandom", "Collective")
    return tf.xla.experimental.jit_scope(lambda node: not node.op.startswith(others))


@contextmanager
def _bfloat16_layers() -> Iterator[None]:
    """Let the layers created inside the block multiply in bfloat16, and pass it on from one to the next.

    A layer multiplies in the type of its kernel, and its output has that of its bias. So all kernels are in
    bfloat16, and the biases that batch norm follows. Variables, batch norm's statistics, generated images,
    logits, losses and Adam stay in float32 (Micikevicius et al. 2017, arXiv:1710.03740). bfloat16 has
    float32's range, so the losses need no scaling.
    """
    check_bfloat16()

    def cast(getter: Callable[..., tf.Variable], name: str, *args: Any, **kwargs: Any) -> tf.Tensor:
        variable = getter(name, *args, **kwargs)
        if name.endswith("/kernel"):
            return tf.cast(variable, tf.bfloat16)
        if re.search(r"conv\d/bias$", name):
            return tf.cast(_without_gradient(variable), tf.bfloat16)
        return variable

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=cast):
        yield


def _without_gradient(bias: tf.Tensor) -> tf.Tensor:
    """Pass on a bias that batch norm takes away again: its gradient is only rounding, and slow to sum."""
    return tf.custom_gradient(lambda bias: (tf.identity(bias), tf.zeros_like))(bias)
