"""TensorFlow as this program uses it: the version 1 API, loaded without its greetings.

Nothing here changes TensorFlow for the rest of a program: graphs are built inside
``with tf.Graph().as_default():``, and outside them version 2 behaviour stays on.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Lines that TensorFlow's C++ logs on every machine: greetings, and complaints that there is no GPU.
NOISE = re.compile(
    rb"WARNING: All log messages before absl::|[IWE]\d{4} |To enable the following instructions"
)


@contextmanager
def without_log_lines() -> Iterator[None]:
    """Drop the log lines that C++ code writes to stderr meanwhile, and pass on anything else.

    TF_CPP_MIN_LOG_LEVEL=2, which should do, does nothing about what is logged while TensorFlow loads. A user
    who has set that variable to 0 sees it all.
    """
    if _user_wants_log_lines:
        yield
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
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

# TensorFlow reads these when it loads and when it finds a GPU. What the user has set stays.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL") or "2"  # to it, "" would be 0
# oneDNN, a library of fast CPU kernels, is up to twice as fast also on CPUs where it is off by itself.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Take GPU memory as needed, not all at once. A session's own option would come too late: making the averages
# of the generator's weights starts the GPU before.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# XLA interprets a shape that is new to it and compiles it the second time, to other bits. A resumed run meets
# the smaller last batch of an epoch at another time than one that was not stopped. So compile at once.
_LAZY = "--tf_xla_enable_lazy_compilation"
if _LAZY not in os.environ.get("TF_XLA_FLAGS", ""):
    os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} {_LAZY}=false".strip()

try:
    os.fstat(2)
except OSError:  # closed (2>&-): the next file to be opened would get its number, and TensorFlow's log lines
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

with without_log_lines():
    import tensorflow.compat.v1 as tf

    GPUS = tf.config.list_physical_devices("GPU")  # looking for them logs, so that is done here

__all__ = ["describe_device", "tf"]


def describe_device() -> str:
    """Say in one sentence whether TensorFlow found a GPU."""
    if not GPUS:
        return "No GPU found: TensorFlow runs on the CPU. (TF_CPP_MIN_LOG_LEVEL=0 shows what it looked for.)"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in GPUS]
    return f"GPU found: {', '.join(names)}."
