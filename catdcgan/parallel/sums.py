"""A worker's graph: sums over all workers, by TensorFlow's collective operations.

Every worker builds the same graph for its part of each batch. A sum has the same bits in all of them, so
their weights stay the same; and K workers take the step of one, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from catdcgan import model
from catdcgan.tf1 import tf
from catdcgan.tf1.layers import NORMALIZE
from catdcgan.tf1.part_normalization import normalize_part

SHARED = "shared"  # the collection that holds the `Shared` of a graph


class Shared(NamedTuple):
    """What a graph that several workers share needs for its sums."""

    size: int  # number of workers
    key: int  # of TensorFlow's group of operations
    rows: tf.Tensor  # int32 (3,): first and end of this worker's images in the batch; images in the batch
    share: tf.Tensor  # this worker's share of the batch, between 0 and 1
    stop: tf.Tensor  # this worker's vote: above 0 to stop after this step
    sums: list[tf.Tensor]  # in the order in which they run


def share_graph(size: int, key: int) -> Shared:
    """Share the default graph between `size` workers: `training_graph` then builds their common step."""
    share, stop = (tf.placeholder(tf.float32, (), f"workers/{name}") for name in ("share", "stop"))
    shared = Shared(size, key, tf.placeholder(tf.int32, (3,), "workers/rows"), share, stop, [])
    tf.add_to_collection(SHARED, shared)
    tf.add_to_collection(NORMALIZE, partial(normalize_part, partial(_total, shared), share, shared.rows[2]))
    return shared


def shared_rows() -> tf.Tensor | None:
    """`Shared.rows` of the default graph, or None if it is not shared."""
    return next((shared.rows for shared in tf.get_collection(SHARED)), None)


def network_step(scope: str, loss: tf.Tensor, learning_rate: tf.Tensor | float, beta1: float) -> tf.Operation:
    """`catdcgan.model.network_step`; in a shared graph, with the gradients of the whole batch."""
    if not tf.get_collection(SHARED):
        return model.network_step(scope, loss, learning_rate, beta1)
    (shared,) = tf.get_collection(SHARED)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS, scope)):
        optimizer = tf.train.AdamOptimizer(learning_rate, beta1=beta1)
        pairs = optimizer.compute_gradients(shared.share * loss, tf.trainable_variables(scope))
        gradients, variables = zip(*pairs, strict=True)
        return optimizer.apply_gradients(zip(_totals(shared, gradients), variables, strict=True))


def batch_mean(part: tf.Tensor) -> tf.Tensor:
    """The mean over the whole batch, of a tensor that is the mean over this worker's part of it."""
    return next((_total(shared, shared.share * part) for shared in tf.get_collection(SHARED)), part)


def shared_metrics(shared: Shared, metrics: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The metrics of the whole batch; and "stop", the sum of all votes."""
    parts = [*(shared.share * value for value in metrics.values()), shared.stop]
    return dict(zip([*metrics, "stop"], tf.unstack(_total(shared, tf.stack(parts))), strict=True))


def variables_of_worker_0(shared: Shared, leads: bool, key: int) -> tf.Operation:
    """Set every variable to its value in worker 0, bit for bit; `leads` says whether this is worker 0."""
    sending = shared._replace(key=key, sums=[])
    assigned = []
    with tf.device("/cpu:0"):
        for variable in tf.global_variables():
            # As integers, because adding zeros to these changes no bit; -0.0 + 0.0 is 0.0.
            bits = tf.bitcast(variable.read_value(), tf.int32) * int(leads)
            value = tf.bitcast(_total(sending, bits), variable.dtype.base_dtype)
            assigned.append(variable.assign(value, read_value=False))
    return tf.group(assigned)


def _total(shared: Shared, value: tf.Tensor) -> tf.Tensor:
    """The sum of a tensor over all workers.

    Each sum waits for the one made before it: workers that ran them in different orders would hang.
    """
    size, key, number = (tf.constant(each) for each in (shared.size, shared.key, 1 + len(shared.sums)))
    with tf.control_dependencies(shared.sums[-1:]):
        total = tf.raw_ops.CollectiveReduceV2(
            input=value,
            group_size=size,
            group_key=key,
            instance_key=number,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
        )
    shared.sums.append(total)
    return total


def _totals(shared: Shared, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The sum of each gradient over all workers; the small ones are packed into one sum."""
    small = [gradient for gradient in gradients if gradient.shape.rank < 2]
    # Backpropagation makes the last ones first, so the sum of these begins first.
    large = [_total(shared, gradient) for gradient in gradients[::-1] if gradient.shape.rank >= 2]
    packed = _total(shared, tf.concat(small, 0))
    parts = iter(tf.split(packed, [int(gradient.shape[0]) for gradient in small]))
    return [next(parts) if gradient.shape.rank < 2 else large.pop() for gradient in gradients]
