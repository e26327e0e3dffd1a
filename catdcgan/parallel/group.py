"""Several workers that train one model, as seen by one of them: they agree, take steps and end together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from catdcgan.errors import TrainingError
from catdcgan.parallel.messages import Messages
from catdcgan.parallel.sums import share_graph, shared_metrics, variables_of_worker_0
from catdcgan.run.alone import Alone
from catdcgan.run.checkpoint import last_good, name_last_checkpoint, set_variables
from catdcgan.run.checkpoint_files import NAME, last_step
from catdcgan.run.folder import RunFolder, lock
from catdcgan.run.interrupts import finish_step_first
from catdcgan.run.record import refuse_differences
from catdcgan.run.schedule import Position
from catdcgan.run.tensors import TrainingGraph
from catdcgan.run.workers import Workers
from catdcgan.tf1 import tf


class Group(Alone):
    """Several workers. Worker 0 leads; the others write nothing."""

    def __init__(self, workers: Workers, facts: Mapping[str, Any], models: Path) -> None:
        """Meet the other workers; `facts`, which JSON can hold, must be the same for all.

        Raises:
            RunError: this worker cannot listen on its address; another cannot be reached, or differs.
        """
        self.leads, self.size = workers.leads, workers.size
        self._workers, self._messages = workers, Messages(workers)
        # Collective operations must run in the same order everywhere, so here only one runs at a time.
        self._turn, self._over = threading.Lock(), threading.Event()
        self._agreed: list[int] = []  # signals that all know of
        told = self._messages.gather({"facts": facts, "models": str(models.absolute())})
        refuse_differences({workers.name(n): one["facts"] for n, one in enumerate(told)})
        self._models, self._saved_step = Path(told[0]["models"]), -1  # of worker 0

    def build(self, training_graph: Callable[[], TrainingGraph]) -> TrainingGraph:
        """As in `Alone`."""
        self._training_graph = training_graph
        self._shared = share_graph(self.size, self._messages.sums_key)
        net = training_graph()
        self._sent = variables_of_worker_0(self._shared, self.leads, self._messages.variables_key)
        return net._replace(metrics=shared_metrics(self._shared, net.metrics))

    @contextmanager
    def session(self, folder: RunFolder) -> Iterator[tuple[tf.Session, RunFolder, list[int]]]:
        """As in `Alone`; what other workers than 0 write is thrown away."""
        with ExitStack() as stack:
            if self.leads:
                stack.enter_context(lock(folder.models))
            else:
                folder = RunFolder(*3 * [Path(stack.enter_context(TemporaryDirectory()))])
            self._received = stack.enter_context(finish_step_first())
            stack.enter_context(name_last_checkpoint(self._last_good))
            stack.callback(self._over.set)
            sess = self._messages.session()
            yield sess, folder, self._agreed
            with self._turn:
                self._over.set()
                self._meet_worker_0()  # until it has saved everything
                self._messages.take_leave()
            sess.close()  # not after an error: it would wait for a call that hangs

    def start(self, sess: tf.Session, net: TrainingGraph, start_run: Callable[[], Position]) -> Position:
        """As in `Alone`: worker 0 does it, and sends its variables to the others."""
        if self.leads:  # initial values depend on the number of operations, of which a shared graph has more
            with tf.Graph().as_default():
                self._training_graph()
                with self._messages.session() as alone:
                    alone.run(tf.global_variables_initializer())
                    values = alone.run({variable.op.name: variable for variable in tf.global_variables()})
            variables = sess.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
            set_variables(sess, [(variable, values[variable.op.name]) for variable in variables])
        start_run()
        self._messages.run(sess, self._sent, limit=self._workers.patience)
        threading.Thread(target=self._reassure, daemon=True).start()
        return Position(*(int(number) for number in sess.run(net.counters)))

    def run_step(self, sess: tf.Session, fetches: list[Any], feed: Mapping[Any, Any]) -> Any:
        """As in `Alone`, on this worker's part of the batch; and count the votes to stop."""
        with self._turn:
            self._meet_worker_0()
            metrics, step = self._messages.run(sess, fetches, self._part(feed))
        if metrics.pop("stop"):
            if not self._received:  # another worker has got a signal: end as it does
                self._received.append(signal.SIGTERM)
            self._agreed += self._received
        return metrics, step

    def _part(self, feed: Mapping[Any, Any]) -> dict[Any, Any]:
        """The feed of this worker's part of the batch."""
        shared = self._shared
        whole = max(len(value) for value in feed.values() if np.ndim(value))
        first, end = self._workers.part(whole)
        share = (end - first) / whole
        if first == end:  # no image is left for this worker: it takes the first, which then does not count
            first, end = 0, 1
        part = {tensor: value[first:end] if np.ndim(value) else value for tensor, value in feed.items()}
        return part | {
            shared.rows: (first, end, whole),
            shared.share: share,
            shared.stop: len(self._received),
        }

    def _meet_worker_0(self, busy: int = 0) -> None:
        """Wait until worker 0 no longer says that it is busy, and learn the step of its last checkpoint."""
        # What all workers give is added up: the others give 0 for what worker 0 alone knows.
        step = last_step(self._models) if self.leads else 0
        heard, self._saved_step = self._messages.add(busy, step)
        while heard and not self.leads:
            heard, self._saved_step = self._messages.add(0, 0)

    def _reassure(self) -> None:
        """While worker 0 saves or draws, let the others wait for longer than their limit."""
        while self.leads and not self._over.wait(self._workers.step_limit / 4):
            with self._turn, suppress(TrainingError):  # the next step meets the same error
                if not self._over.is_set():
                    self._meet_worker_0(busy=1)

    def _last_good(self) -> str:
        if self.leads:
            return last_good(self._models)
        good = f"{self._models / NAME}-{self._saved_step}" if self._saved_step >= 0 else "not there yet"
        return f"the last good checkpoint, of worker 0, is {good}"
