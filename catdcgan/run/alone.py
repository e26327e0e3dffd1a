"""A run in a single process: what `catdcgan.parallel.group.Group` does for several, for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from catdcgan.run.checkpoint import last_good, name_last_checkpoint
from catdcgan.run.folder import RunFolder, lock
from catdcgan.run.interrupts import finish_step_first
from catdcgan.run.schedule import Position
from catdcgan.run.tensors import TrainingGraph
from catdcgan.tf1 import tf

P = ParamSpec("P")


class Alone:
    """The process that trains. Several do the same in a `Group`, so that one and many run the same code."""

    leads = True  # saves, draws and reports
    size = 1  # number of processes

    def build(self, training_graph: Callable[[], TrainingGraph]) -> TrainingGraph:
        """Build the training graph in the default graph."""
        return training_graph()

    @contextmanager
    def session(self, folder: RunFolder) -> Iterator[tuple[tf.Session, RunFolder, list[int]]]:
        """Open a session of the default graph, lock the run, and name its last checkpoint in errors.

        Yields:
            The session, the folder to write to, and the signals that stop the run, as they arrive.
        """
        with (
            lock(folder.models),
            name_last_checkpoint(lambda: last_good(folder.models)),
            tf.Session() as sess,
            finish_step_first() as interrupts,
        ):
            yield sess, folder, interrupts

    def start(self, sess: tf.Session, net: TrainingGraph, start_run: Callable[[], Position]) -> Position:
        """Start or continue the run, in a session of initialized variables of the training graph."""
        return start_run()

    def run_step(self, sess: tf.Session, fetches: list[Any], feed: Mapping[Any, Any]) -> Any:
        """Run [metrics, step], given the feed of the whole batch."""
        return sess.run(fetches, feed)


def by_worker_0(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """Let a method of `Training` do nothing in the other workers."""

    @wraps(method)
    def run(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.group.leads:
            method(self, *args, **kwargs)

    return run
