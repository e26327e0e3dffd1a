"""What the discriminator says of images that it never trained on."""

from __future__ import annotations

import numpy as np

from catdcgan.run.tensors import TrainingGraph
from catdcgan.settings import Settings
from catdcgan.tf1 import tf


def judge(sess: tf.Session, net: TrainingGraph, images: np.ndarray, settings: Settings) -> float:
    """The discriminator's mean output, a probability, on images in batches as large as in training.

    Its batch norm takes the statistics of the batch, so a batch of other images can be compared with one
    that it trains on.

    Args:
        sess: the session.
        net: the graph in it.
        images: (n, s, s, c), uint8 or float32 in [-1, 1].
        settings: of the run.
    """
    size = settings.batch_size
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    pixels = net.pixels if images.dtype == np.uint8 else net.input_real
    outputs = [sess.run(net.metrics["d_real"], {pixels: batch}) for batch in batches]
    return float(np.average(outputs, weights=[len(batch) for batch in batches]))
