"""TensorBoard's event files: the losses, pictures and graph of a run, to watch while it trains.

TensorBoard itself need not be installed. No operation is added to the graph, which may be finalized.

`tf.summary.FileWriter` is not used, because it writes in a thread: a full disk ends the thread with a
traceback, and training some steps later with a RuntimeError or an IndexError. Here a record has left the
program when a function returns, so that TensorBoard shows it, and a full disk raises OSError at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from catdcgan.tf1 import tf


@contextmanager
def event_writer(folder: Path, step: int, graph: tf.Graph) -> Iterator[tf.io.TFRecordWriter]:
    """Open a new event file for the block, creating the folder if needed.

    Each start gets its own file, so a file that was cut off in the middle of a record does no harm.

    Args:
        folder: the folder for the run's event files.
        step: the step that training continues from; 0 for a new run.
        graph: written for a new run, for TensorBoard's graph page.

    Raises:
        OSError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads a folder's files in the order of their names.
    with _os_errors():
        writer = tf.io.TFRecordWriter(str(folder / f"events.out.tfevents.{time.time():.6f}.{step}"))
    with writer:
        _write(writer, tf.Event(file_version="brain.Event:2"))
        # At this event TensorBoard discards what it has read for its step and later ones: the steps after the
        # last checkpoint, which the resumed run takes again. The first such event that TensorBoard sees has
        # no effect, so a new run needs one too.
        restart = tf.SessionLog(status=tf.SessionLog.START)
        _write(writer, tf.Event(step=step + 1, session_log=restart))
        if not step:
            _write(writer, tf.Event(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString()))
        yield writer


def write_scalars(writer: tf.io.TFRecordWriter, step: int, values: Mapping[str, float]) -> None:
    """Write a step's numbers by name; TensorBoard groups "loss/discriminator" and "loss/generator".

    Raises:
        OSError: the file cannot be written.
    """
    numbers = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    _write(writer, tf.Event(step=step, summary=tf.Summary(value=numbers)))


def write_picture(writer: tf.io.TFRecordWriter, step: int, tag: str, file: Path) -> None:
    """Write a step's picture: the unchanged bytes of a PNG or JPEG file.

    Raises:
        OSError: the file is missing or not a picture, or the event file cannot be written.
    """
    with Image.open(file) as picture:
        image = tf.Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=len(picture.getbands()),
            encoded_image_string=file.read_bytes(),
        )
    _write(writer, tf.Event(step=step, summary=tf.Summary(value=[tf.Summary.Value(tag=tag, image=image)])))


def _write(writer: tf.io.TFRecordWriter, event: tf.Event) -> None:
    event.wall_time = time.time()
    with _os_errors():
        writer.write(event.SerializeToString())
        writer.flush()


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn TensorFlow's errors, such as ResourceExhaustedError for a full disk, into OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {error.message}") from error
