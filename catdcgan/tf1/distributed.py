"""TensorFlow's server, through which processes reach each other, and calls with a time limit that holds."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any

from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from catdcgan.tf1 import tf


@cache  # TensorFlow cannot stop a server, so the next run in this process uses it again
def start_server(addresses: tuple[str, ...], index: int) -> str:
    """Listen on one of the addresses "host:port", and return the target of sessions.

    TensorFlow listens on the port at every address of this machine, and asks nobody for a password.

    Raises:
        OSError: that is impossible.
    """
    try:
        server = tf.distribute.Server({"worker": [*addresses]}, "worker", index, config=_config(index))
    except tf.errors.OpError as error:
        raise OSError(f"cannot listen on {addresses[index]}: {error.message}") from error
    return str(server.target)


def open_session(target: str, index: int) -> tf.Session:
    """Open a session of the default graph on the devices of a server, given its target and number."""
    config = _config(index)
    operations = tf.get_default_graph().get_operations()
    if any(op.type == "Conv2D" and op.outputs[0].dtype == tf.bfloat16 for op in operations):
        # A server refuses the fusion of a convolution and its bias in bfloat16, which the graph is rewritten
        # to and which a session without a server takes.
        config.graph_options.rewrite_options.remapping = RewriterConfig.OFF
    return tf.Session(target, config=config)


def _config(index: int) -> tf.ConfigProto:
    config = tf.ConfigProto(device_filters=[f"/job:worker/task:{index}"], isolate_session_state=True)
    config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
    return config


def limited_call(
    sess: tf.Session, fetches: Any, feed: Mapping[Any, Any] | None, seconds: float
) -> Future[Any]:
    """Begin ``sess.run(fetches, feed)``, which then fails with DeadlineExceededError after some seconds.

    The call runs in a thread, because TensorFlow does not keep the limit while collective operations look
    for worker 0. Then the thread stays behind, and closing the session would wait for it.
    """
    outcome: Future[Any] = Future()
    options = tf.RunOptions(timeout_in_ms=int(1000 * seconds))

    def run() -> None:
        try:
            outcome.set_result(sess.run(fetches, feed, options))
        except Exception as error:  # for the caller
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome
