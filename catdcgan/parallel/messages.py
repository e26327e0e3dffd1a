"""Collective operations with a time limit, and small messages between the workers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import TimeoutError as StillRunning
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

import numpy as np

from catdcgan.errors import TrainingError
from catdcgan.run.progress import human_time
from catdcgan.run.workers import Workers, check_own_address, wait_for_others
from catdcgan.tf1 import tf
from catdcgan.tf1.distributed import limited_call, open_session, start_server

TEXT_BYTES = 2**14  # of what a worker tells of itself
LOOK_SECONDS = 3  # after so long, look whether the others are still there
# What collective operations fail with if another worker does; others, such as full memory, are this one's.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)
_keys = count(1)  # of TensorFlow's groups of collective operations: never used twice in a process


class Messages:
    """This worker's connection to the others."""

    def __init__(self, workers: Workers) -> None:
        """Listen on this worker's address, and wait for the others.

        Raises:
            RunError: the address cannot be listened on, or another worker cannot be reached.
            OSError: TensorFlow's server does not start.
        """
        self.workers = workers
        key, self.sums_key, self.variables_key = (next(_keys) for _ in range(3))
        check_own_address(workers.addresses[workers.index])
        self._target = start_server(workers.addresses, workers.index)
        wait_for_others(workers)
        common: dict[str, Any] = {"group_size": workers.size, "group_key": key, "ordering_token": []}
        with tf.Graph().as_default(), tf.device("/cpu:0"):
            self._text = tf.placeholder(tf.int32, (1, TEXT_BYTES))
            self._texts = tf.raw_ops.CollectiveGatherV2(input=self._text, instance_key=1, **common)
            self._numbers = tf.placeholder(tf.int64, (2,))
            common |= {"merge_op": "Add", "final_op": "Id"}
            self._sums = tf.raw_ops.CollectiveReduceV2(input=self._numbers, instance_key=2, **common)
            self._sess = self.session()

    def session(self) -> tf.Session:
        """Open a session of the default graph on this worker's devices."""
        return open_session(self._target, self.workers.index)

    def run(
        self, sess: tf.Session, fetches: Any, feed: Mapping[Any, Any] | None = None, limit: float = 0
    ) -> Any:
        """Run collective operations in a session, for `limit` seconds at most, by default those of a step.

        For the ``timeout_seconds`` of each operation TensorFlow would keep a thread until they have passed.

        Raises:
            TrainingError: a worker has ended, or is not heard of.
        """
        limit = limit or self.workers.step_limit
        call, end = limited_call(sess, fetches, feed, limit), monotonic() + limit
        what, gone = f"a worker was silent for {human_time(limit)}", list[str]()
        while not gone and monotonic() < end:
            try:
                return call.result(LOOK_SECONDS)
            except StillRunning:
                gone = self.workers.gone()
            except tf.errors.DeadlineExceededError:
                break
            except LOST as error:
                what = f"a worker was lost ({error.message.splitlines()[0]})"
                break
        gone = gone or self.workers.gone()
        what = f"{' and '.join(gone)} ended" if gone else what
        raise TrainingError(f"{what}: see what it printed, and start all workers again with --resume")

    def gather(self, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Tell all workers what JSON can hold, and return what each of them tells."""
        text = json.dumps(facts).encode().ljust(TEXT_BYTES)
        texts = self.run(self._sess, self._texts, {self._text: [[*text]]}, self.workers.patience)
        self.take_leave()
        return [json.loads(bytes(row)) for row in texts.astype(np.uint8)]

    def add(self, *numbers: int) -> list[int]:
        """Add up two numbers over all workers, which waits until all have called this."""
        return [int(total) for total in self.run(self._sess, self._sums, {self._numbers: numbers})]

    def take_leave(self) -> None:
        """Wait until all have received the last message, because some may end now."""
        with suppress(TrainingError):  # who has ended has received it, too
            self.add(0, 0)
