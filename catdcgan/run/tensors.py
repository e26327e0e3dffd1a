"""What the parts of a run need of its graph."""

from __future__ import annotations

from typing import NamedTuple

from catdcgan.tf1 import tf

COUNTERS = ("global_step", "epoch", "epoch_step")  # steps done, epochs done, steps done in the current epoch


class TrainingGraph(NamedTuple):
    """The tensors, operations and variables that training uses."""

    pixels: tf.Tensor  # real images as uint8 from 0 to 255
    input_real: tf.Tensor  # the same as float32 in [-1, 1]; can be fed in place of the pixels
    input_z: tf.Tensor
    lr_G: tf.Tensor
    lr_D: tf.Tensor
    step: tf.Operation
    metrics: dict[str, tf.Tensor]  # d_loss and g_loss; d_real and d_fake, the discriminator's mean outputs
    counters: list[tf.Variable]  # int64 scalars, named as in `COUNTERS`
    sampling_variables: dict[str, tf.Variable]  # the generator's, or their averages, by the article's names
    statistics: dict[str, tuple[tf.Tensor, tf.Tensor]]  # of `batch_statistics`; empty unless set
    all_finite: tf.Tensor  # whether every variable is finite
