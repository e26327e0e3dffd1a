"""TensorFlow's server, through which processes reach each other, and calls with a time limit that holds."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any

from catdcgan.tf1 import tf


@cache  # TensorFlow cannot stop a server, so the next run in this process uses it again
def start_server(addresses: tuple[str, ...], index: int) -> tuple[str, tf.ConfigProto]:
    """Listen on one of the addresses "host:port"; return the target and configuration for its sessions.

    TensorFlow listens on the port at every address of this machine, and asks nobody for a password.

    Raises:
        OSError: that is impossible.
    """
    config = tf.ConfigProto(device_filters=[f"/job:worker/task:{index}"], isolate_session_state=True)
    config.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
    try:
        server = tf.distribute.Server({"worker": [*addresses]}, "worker", index, config=config)
    except tf.errors.OpError as error:
        raise OSError(f"cannot listen on {addresses[index]}: {error.message}") from error
    return server.target, config


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
