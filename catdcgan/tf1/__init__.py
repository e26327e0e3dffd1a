"""TensorFlow as this program uses it: the version 1 API, loaded without its start-up log.

Nothing here changes TensorFlow for the rest of a program: graphs are built inside
``with tf.Graph().as_default():``, and outside them version 2 behaviour stays on.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

# Lines that TensorFlow's C++ code logs on every machine: start-up messages, and warnings of a missing GPU.
NOISE = re.compile(
    rb"WARNING: All log messages before absl::|[IWE]\d{4} |To enable the following instructions"
)


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Drop the log lines that C++ code writes to stderr inside the block, and pass on anything else.

    TF_CPP_MIN_LOG_LEVEL=2 should do this, but does not affect what is logged while TensorFlow loads. A user
    who has set that variable to 0 sees everything.
    """
    if _user_wants_log_lines:
        yield
        return
    with ExitStack() as stack:
        try:
            log = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # there is no folder for temporary files: the lines are shown
            yield
            return
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            with suppress(OSError):  # stderr is a full disk, or a pipe that nobody reads
                os.write(2, b"".join(line for line in log if not NOISE.match(line)))


_user_wants_log_lines = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"

# TensorFlow reads these when it loads and when it finds a GPU. Values set by the user are kept.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL") or "2"  # it takes "" for 0
# oneDNN, a library of fast CPU kernels, is up to twice as fast, even where TensorFlow leaves it off.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Take GPU memory as needed, not all at once. A session's own option would come too late: creating the
# averages of the generator's weights initializes the GPU first.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# By default XLA interprets a new shape, and compiles it the second time, which rounds otherwise. A resumed
# run meets an epoch's smaller last batch at another time than an uninterrupted one. So compile at once.
_LAZY = "--tf_xla_enable_lazy_compilation"
if _LAZY not in os.environ.get("TF_XLA_FLAGS", ""):
    os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} {_LAZY}=false".strip()

try:
    os.fstat(2)
except OSError:  # closed (2>&-): the next file opened would get its number, and so TensorFlow's log lines
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

with without_log_lines():
    import tensorflow.compat.v1 as tf

    GPUS = tf.config.list_physical_devices("GPU")  # this search logs too, so it is done here

__all__ = ["tf"]
