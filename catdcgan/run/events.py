"""TensorBoard's event files: what it shows live of a run, its losses, its pictures and its graph.

TensorBoard itself need not be installed, and no op is added to the graph, which may be finalized.

Not with `tf.summary.FileWriter`, which writes in a thread: a full disk ends the thread with a traceback, and
some steps later the training with a RuntimeError or an IndexError. Here a record has left the program when a
function returns, so that TensorBoard shows it, and a full disk is an OSError at once.
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
    """Open a new event file, and close it at the end; the folder is made if need be.

    Each start has a file of its own, so that one that was cut off in mid-record does no harm.

    Args:
        folder: where the event files of the run are.
        step: the step that training goes on from; 0 for a fresh start.
        graph: is written at a fresh start, for TensorBoard's page of graphs.

    Raises:
        OSError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads the files of a folder in the order of their names.
    with _os_errors():
        writer = tf.io.TFRecordWriter(str(folder / f"events.out.tfevents.{time.time():.6f}.{step}"))
    with writer:
        _write(writer, tf.Event(file_version="brain.Event:2"))
        # TensorBoard forgets what it has read of this event's step and later ones: the steps that the run
        # took between its last checkpoint and its end, which it takes again. The first such event that
        # TensorBoard sees has no effect, so a fresh start needs one too.
        restart = tf.SessionLog(status=tf.SessionLog.START)
        _write(writer, tf.Event(step=step + 1, session_log=restart))
        if not step:
            _write(writer, tf.Event(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString()))
        yield writer


def write_scalars(writer: tf.io.TFRecordWriter, step: int, values: Mapping[str, float]) -> None:
    """Write numbers of a step by name; TensorBoard groups "loss/discriminator" and "loss/generator".

    Raises:
        OSError: the file cannot be written.
    """
    numbers = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    _write(writer, tf.Event(step=step, summary=tf.Summary(value=numbers)))


def write_picture(writer: tf.io.TFRecordWriter, step: int, tag: str, file: Path) -> None:
    """Write a picture of a step, the bytes of a PNG or JPEG file as they are.

    Raises:
        OSError: the file is absent or no picture, or the event file cannot be written.
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
    """A full disk, for one, is a ResourceExhaustedError of TensorFlow's: make it the OSError that it is."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"cannot write {error.message}") from error
