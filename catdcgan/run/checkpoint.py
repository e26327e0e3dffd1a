"""Checkpoints: what they hold, restoring them, and saving them during training.

A run's folder holds ``model.ckpt``, the generator alone under the article's names, for sampling; and
``model.ckpt-STEP``, everything that training needs to continue from that step. Each is a pair of files,
``.index`` and ``.data-00000-of-00001``; a checkpoint's path is written without these suffixes.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from catdcgan.errors import CheckpointError, DamagedError, TrainingError
from catdcgan.files import PARTIAL
from catdcgan.run.checkpoint_files import (
    DAMAGED,
    ENDINGS,
    NAME,
    abridged_names,
    existing_checkpoint,
    find_checkpoint,
    finish_replacement,
    latest,
    numbered,
    replacement_of,
    to_disk,
)
from catdcgan.run.memory import FLOAT, SMALLER, available_memory, parameter_counts
from catdcgan.settings import IMAGE_MODES, is_image_size
from catdcgan.tf1 import tf

AVERAGE = "/ExponentialMovingAverage"  # ends the name of a variable's average, as TensorFlow calls it


class Architecture(NamedTuple):
    """A generator's settings, as found from the shapes of its variables."""

    z_dim: int  # length of a latent
    base_filters: int  # width
    image_size: int  # side of the pictures, in pixels
    channels: int  # 3 for colour, 1 for grayscale

    @property
    def image_mode(self) -> str:
        """The name of these colours in `IMAGE_MODES`."""
        return next(mode for mode, channels in IMAGE_MODES.items() if channels == self.channels)


def read_architecture(path: str | os.PathLike[str]) -> Architecture:
    """Find a generator's settings from the shapes in a checkpoint.

    Args:
        path: the checkpoint, such as ``models/model.ckpt``; or one of its files; or the folder of a run or of
            its models, for the ``model.ckpt`` there.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it holds no generator of this program, or
            one that is larger than memory.
    """
    with _reader(path) as reader:
        shapes = reader.get_variable_to_shape_map()
    try:
        found = architecture(shapes)
    except (KeyError, ValueError) as error:
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise CheckpointError(
            f"{path} is not a cat DCGAN: expected generator/dense/kernel (z_dim, features) and "
            f"generator/logits/kernel (5, 5, channels, width) in it, found {abridged_names(shapes)}{reason}"
        ) from None
    weights, _ = parameter_counts(found.image_size, found.channels, found.z_dim, found.base_filters)
    needed, available = FLOAT * weights, available_memory()
    if available is not None and needed > available:
        raise CheckpointError(
            f"{path} holds a generator of {needed / 1e9:,.1f} GB, more than all memory "
            f"({available / 1e9:,.1f})"
        )
    return found


def variable_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of the variables in a checkpoint; raises like `read_architecture`."""
    with _reader(path) as reader:
        return sorted(reader.get_variable_to_shape_map())


def architecture(shapes: Mapping[str, Sequence[int]]) -> Architecture:
    """Find a generator's settings from the shapes of its variables, by name.

    Raises:
        KeyError, ValueError: they are not those of a generator of this program.
    """
    z_dim, features = shapes["generator/dense/kernel"]
    _, _, channels, base_filters = shapes["generator/logits/kernel"]
    if not (z_dim > 0 and base_filters > 0 and channels in IMAGE_MODES.values()):
        raise ValueError(f"latents of {z_dim} numbers, width {base_filters}, {channels} channels")
    side = math.isqrt(features // (16 * base_filters))
    if not is_image_size(16 * side) or side * side * 16 * base_filters != features:
        raise ValueError(f"{features} features are no square of 2 x 2 pixels or more at width {base_filters}")
    return Architecture(z_dim, base_filters, 16 * side, channels)


def restore(
    sess: tf.Session,
    path: str | os.PathLike[str],
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None] | None = None,
    averages: bool = False,
) -> None:
    """Set variables of the session's graph to the values in a checkpoint, without adding operations.

    Args:
        sess: the session.
        path: as in `read_architecture`.
        variables: what to restore; anything else in the checkpoint is left alone.
        substitutes: for each name that a checkpoint may lack, the name to read instead, or None to leave the
            variable unchanged. This lets the checkpoint of the article's author be restored, which has none
            of our counters and averages.
        averages: take the moving average of a variable in place of its value, where the checkpoint has one.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, lacks a variable, or holds it in another shape
            or type, or with values that are not finite. No variable is changed then.
    """
    with _reader(path) as reader:
        sources = _sources(path, reader, variables, substitutes or {}, averages)
        values = []
        for variable, name in sources:
            try:
                value = reader.get_tensor(name)
            except (tf.errors.OpError, RuntimeError, IndexError) as error:
                raise DamagedError(f"{path} is damaged: {name} cannot be read ({error})") from error
            if not np.isfinite(value).all():  # training saves no such value
                raise DamagedError(f"{path} is damaged: {name} holds values that are not finite")
            values.append((variable, value))
    set_variables(sess, values)


def restore_newest(
    sess: tf.Session,
    folder: Path,
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None] | None = None,
) -> None:
    """Restore the newest readable checkpoint in a folder, as `restore` does.

    A warning names each newer checkpoint that is damaged. Its files are renamed, not deleted. Under its old
    name, it would be taken for the newest again, and good checkpoints would be deleted in its favour.

    Raises:
        CheckpointError: as in `restore`, if no checkpoint can be read or the newest readable one does not
            fit. Nothing is renamed then.
        OSError: a damaged checkpoint cannot be renamed.
    """
    damaged: list[tuple[Path, DamagedError]] = []
    for path in numbered(folder)[::-1] or [folder / NAME]:
        try:
            restore(sess, path, variables, substitutes)
            break
        except DamagedError as error:
            damaged.append((path, error))
    else:
        others = f"; so are the {len(damaged) - 1} before it: start a new run" if damaged[1:] else ""
        raise DamagedError(f"{damaged[0][1]}{others}")
    for bad, reason in damaged:
        aside = bad.with_name(f"{DAMAGED}{bad.name}")
        warnings.warn(f"{reason}. It was renamed to {aside.name}, and {path} is used instead", stacklevel=2)
        finish_replacement(bad)
        for ending in reversed(ENDINGS):
            if Path(f"{bad}{ending}").exists():
                os.replace(f"{bad}{ending}", f"{aside}{ending}")


def _sources(
    path: str | os.PathLike[str],
    reader: Any,
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None],
    averages: bool,
) -> list[tuple[tf.Variable, str]]:
    """Pair each variable with the name to read it from; raises like `restore` if one does not fit."""
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    sources = []
    for variable in variables:
        name = variable.op.name
        source = name if name in shapes else substitutes.get(name, name)
        if averages and f"{name}{AVERAGE}" in shapes:
            source = f"{name}{AVERAGE}"
        if source is not None:
            sources.append((variable, source))
    missing = [name for _, name in sources if name not in shapes]
    if missing:
        part = all(name.startswith("generator/") for name in shapes) and missing[0].startswith(
            "discriminator/"
        )
        hint = (
            ". It holds only the generator: you can sample from it, but not resume training" if part else ""
        )
        raise CheckpointError(
            f"{path} lacks {abridged_names(missing)}, of {len(sources)} variables; "
            f"found {abridged_names(shapes)}{hint}"
        )
    for variable, name in sources:
        if shapes[name] != variable.shape.as_list():
            raise CheckpointError(
                f"{path} holds {name} as {shapes[name]}, expected {variable.shape.as_list()}: it was trained "
                "with another width, image size, number of colours or length of latents"
            )
        if types[name] != variable.dtype.base_dtype:
            raise CheckpointError(
                f"{path} holds {name} as {types[name].name}, expected {variable.dtype.base_dtype.name}"
            )
    return sources


def set_variables(sess: tf.Session, values: Iterable[tuple[tf.Variable, Any]]) -> None:
    """Set variables without adding operations, by running their initializers, fed with the values."""
    initializers = [(variable.initializer, value) for variable, value in values]
    sess.run(
        [initializer for initializer, _ in initializers],
        {initializer.inputs[1]: value for initializer, value in initializers},
    )


def save(sess: tf.Session, saver: tf.train.Saver, path: Path) -> None:
    """Write a checkpoint, creating its folder if needed. A kill leaves the old or the new one whole.

    A checkpoint is two files, and no system renames two at once. So a checkpoint that replaces another is
    first completed in a hidden folder beside it, where `restore` and `read_architecture` look too, and then
    copied into place. `tidy` completes what a kill cut short.

    Raises:
        OSError: it cannot be written, for example on a full disk; an existing checkpoint is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as temporary:
        new = Path(temporary, NAME)
        try:
            saver.save(sess, str(new), write_meta_graph=False, write_state=False)
        except tf.errors.OpError as error:
            raise OSError(f"cannot save {path}: {own_message(error)}") from error
        for ending in ENDINGS:
            to_disk(Path(f"{new}{ending}"))
        if not Path(f"{path}{ENDINGS[-1]}").exists():
            for ending in ENDINGS:
                os.replace(f"{new}{ending}", f"{path}{ending}")
            return
        finish_replacement(path)  # one that an earlier program left unfinished
        os.replace(temporary, replacement_of(path))
    finish_replacement(path)


def own_message(error: tf.errors.OpError) -> str:
    """An error's own message, without the line before it that says where the operation was defined."""
    text = error.message.rpartition("\nNode: ")[2].splitlines()
    return str(text[1] if text[1:] else text[0])


@contextmanager
def name_last_checkpoint(last_good: Callable[[], str]) -> Iterator[None]:
    """Name the last good checkpoint, as `last_good` does, in any error that ends training."""
    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{error}; {last_good()}") from error
    except OSError as error:
        remedy = "Fix that (is the disk full?), then resume"
        raise TrainingError(f"{error}. {remedy}; {last_good()}") from error
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"out of memory ({reason}): {SMALLER}; {last_good()}") from error


def last_good(model_dir: Path) -> str:
    """Say which checkpoint in a folder is the last good one."""
    good = latest(model_dir)
    return f"the last good checkpoint is {good}" if good else f"there is no checkpoint in {model_dir}"


@contextmanager
def _reader(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a TensorFlow CheckpointReader; raises like `read_architecture` if that fails."""
    path, source = find_checkpoint(path), existing_checkpoint(path)
    with _plain_path(source) as plain:
        try:
            reader = tf.train.load_checkpoint(plain)
        except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
            raise DamagedError(f"{path} is damaged: its index cannot be read ({error})") from error
        yield reader


@contextmanager
def _plain_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield a path at which TensorFlow finds a checkpoint: a temporary one if the folder is "run [v2]".

    TensorFlow saves to a path literally, but reads from it as a glob pattern, which may not match itself.
    Escaping it does not help, because the path is matched first and then opened literally.
    """
    if tf.io.gfile.glob(f"{os.fspath(path)}{ENDINGS[-1]}"):
        yield os.fspath(path)
        return
    with TemporaryDirectory() as temporary:
        for ending in ENDINGS:
            file, link = Path(f"{os.fspath(path)}{ending}").absolute(), Path(temporary, f"{NAME}{ending}")
            try:
                link.symlink_to(file)
            except OSError:  # on Windows, not every user may create links
                shutil.copyfile(file, link)
        yield str(Path(temporary, NAME))
