"""Export a generator as a SavedModel, for TensorFlow 2 and TensorFlow Serving."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from catdcgan.errors import InputError
from catdcgan.files import PARTIAL
from catdcgan.run.checkpoint import own_message
from catdcgan.sampling import open_generator
from catdcgan.tf1 import tf

VERSION = "1"  # the folder's name; TensorFlow Serving serves the highest number


def export_savedmodel(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    pixel_range: float = 1.0,
    alpha: float = 0.2,
) -> Path:
    """Write the generator in a checkpoint as the SavedModel ``out/1``; its images are those of `sample`.

    It has the tag ``serve`` and the signature ``serving_default``, from ``latents``, float32 (n, z_dim), to
    ``images``, uint8 (n, s, s, c).

    Args:
        checkpoint: as in `sample`.
        out: the folder to create ``1`` in.
        pixel_range: as in `sample`.
        alpha: as in `sample`.

    Returns:
        The folder ``out/1``.

    Raises:
        CheckpointError: as in `sample`.
        InputError: ``out/1`` exists.
        OSError: a file cannot be written; nothing of it is left then.
    """
    target = Path(out, VERSION)
    if target.exists():
        raise InputError(f"{target} exists: remove it, or name another folder")
    with open_generator(checkpoint, alpha) as (sess, input_z, images):
        with sess.graph.as_default():
            # As to_pixels does it: tf.round, too, rounds halves to the even number.
            levels = tf.round((images / pixel_range + 1) * 127.5)
            pixels = tf.cast(tf.clip_by_value(levels, 0, 255), tf.uint8)
        signature = tf.saved_model.build_signature_def(
            {"latents": _tensor_info(input_z)},
            {"images": _tensor_info(pixels)},
            tf.saved_model.signature_constants.PREDICT_METHOD_NAME,
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=PARTIAL, dir=target.parent) as temporary:
            new = Path(temporary, VERSION)
            try:
                with sess.graph.as_default():
                    builder = tf.saved_model.Builder(str(new))
                    builder.add_meta_graph_and_variables(sess, ["serve"], {"serving_default": signature})
                    builder.save()
            except tf.errors.OpError as error:
                raise OSError(f"cannot write {target}: {own_message(error)}") from error
            os.replace(new, target)
    return target


def _tensor_info(tensor: tf.Tensor) -> tf.TensorInfo:
    """Describe a tensor in a signature: TensorFlow's own function for it is deprecated, and says so."""
    shape, dtype = tensor.shape.as_proto(), tensor.dtype.as_datatype_enum
    return tf.TensorInfo(name=tensor.name, dtype=dtype, tensor_shape=shape)
