"""Checkpoints: what one holds, restoring it, and saving during training.

A run's folder holds ``model.ckpt``, the generator alone under the article's names, for looking at pictures;
and ``model.ckpt-STEP``, everything that training needs to go on from that step. Each of them is two files,
``.index`` and ``.data-00000-of-00001``; a path to a checkpoint is written without these endings.

TensorFlow loads in the functions that need it, so that a wrong folder or name is told at once.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from catdcgan.errors import InputError
from catdcgan.files import PARTIAL, remove_partial, whole_or_nothing

if TYPE_CHECKING:
    from catdcgan.tf1 import tf

NAME = "model.ckpt"
ENDINGS = (".data-00000-of-00001", ".index")  # TensorFlow finds a checkpoint by its index: that one goes last
NEW = ".new-"  # how the name of a folder begins whose checkpoint is about to replace another
DAMAGED = "damaged-"  # how the name of a checkpoint begins that was found damaged and set aside


class CheckpointError(InputError):
    """A checkpoint cannot be used; the message says what was found and what was expected."""


class DamagedError(CheckpointError):
    """A checkpoint is there, but half of it is missing or it cannot be read."""


class Architecture(NamedTuple):
    """What the shapes of a generator's variables tell."""

    z_dim: int  # length of a latent
    base_filters: int  # width
    image_size: int  # side of the pictures, in pixels
    channels: int  # 3 for colour, 1 for grayscale


def read_architecture(path: str | os.PathLike[str]) -> Architecture:
    """Tell a generator's settings from the shapes in a checkpoint.

    Args:
        path: the checkpoint, such as ``models/model.ckpt``; or one of its files, or the folder of a run or of
            its models, whose ``model.ckpt`` is meant.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it holds no generator of this program.
    """
    with _reader(path) as reader:
        shapes = reader.get_variable_to_shape_map()
    try:
        return architecture(shapes)
    except (KeyError, ValueError):
        raise CheckpointError(
            f"{path} is not a cat DCGAN: expected generator/dense/kernel (z_dim, features) and "
            f"generator/logits/kernel (5, 5, channels, width) in it, found {_some(shapes)}"
        ) from None


def architecture(shapes: Mapping[str, Sequence[int]]) -> Architecture:
    """Tell a generator's settings from the shapes of its variables, by name.

    Raises:
        KeyError, ValueError: they are not a generator's of this program.
    """
    z_dim, features = shapes["generator/dense/kernel"]
    _, _, channels, base_filters = shapes["generator/logits/kernel"]
    side = math.isqrt(features // (16 * base_filters))
    if side * side * 16 * base_filters != features:
        raise ValueError(f"{features} features are no square of pixels at width {base_filters}")
    return Architecture(z_dim, base_filters, 16 * side, channels)


def restore(
    sess: tf.Session,
    path: str | os.PathLike[str],
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None] | None = None,
) -> None:
    """Give variables of the session's graph the values in a checkpoint. Adds no op to the graph.

    Args:
        sess: the session.
        path: as in `read_architecture`.
        variables: what to restore; anything else in the checkpoint is left alone.
        substitutes: for each name that a checkpoint may lack, the name to read in its place, or None to
            leave the variable as it is. So the checkpoint of the article's author, which has none of our
            counters and averages, restores.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, lacks a variable, or holds it in another
            shape. No variable has changed then.
    """
    from catdcgan.tf1 import tf

    with _reader(path) as reader:
        sources = _sources(path, reader.get_variable_to_shape_map(), variables, substitutes or {})
        values = []
        for variable, name in sources:
            try:
                values.append((variable, reader.get_tensor(name)))
            except (tf.errors.OpError, RuntimeError, IndexError) as error:
                raise DamagedError(f"{path} is damaged: {name} cannot be read ({error})") from error
    set_variables(sess, values)


def restore_newest(
    sess: tf.Session,
    folder: Path,
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None] | None = None,
) -> None:
    """Do as `restore` does, with the newest checkpoint in a folder that can be read.

    A warning names each newer one that is damaged. Its files are renamed, not deleted: left under its name,
    it would be taken for the newest again, and good ones would be removed in its favour.

    Raises:
        CheckpointError: as `restore`, if no checkpoint can be read or the newest readable one does not fit.
            Nothing is renamed then.
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
        raise damaged[0][1]
    for bad, reason in damaged:
        aside = bad.with_name(f"{DAMAGED}{bad.name}")
        warnings.warn(f"{reason}. It is now called {aside.name}, and {path} is used instead", stacklevel=2)
        _end_replacement(bad)
        for ending in reversed(ENDINGS):
            if Path(f"{bad}{ending}").exists():
                os.replace(f"{bad}{ending}", f"{aside}{ending}")


def _sources(
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]],
    variables: Sequence[tf.Variable],
    substitutes: Mapping[str, str | None],
) -> list[tuple[tf.Variable, str]]:
    """Which name of a checkpoint each variable is read from; raises as `restore` where one does not fit."""
    sources = []
    for variable in variables:
        name = variable.op.name
        source = name if name in shapes else substitutes.get(name, name)
        if source is not None:
            sources.append((variable, source))
    missing = [name for _, name in sources if name not in shapes]
    if missing:
        alone = all(name.startswith("generator/") for name in shapes)
        hint = ". It holds the generator alone: good to look at, not to train on" if alone else ""
        raise CheckpointError(
            f"{path} lacks {_some(missing)}, of {len(sources)} variables; found {_some(shapes)}{hint}"
        )
    for variable, name in sources:
        if shapes[name] != variable.shape.as_list():
            raise CheckpointError(
                f"{path} holds {name} as {shapes[name]}, expected {variable.shape.as_list()}"
            )
    return sources


def set_variables(sess: tf.Session, values: Iterable[tuple[tf.Variable, Any]]) -> None:
    """Give variables values, without an op more: their initializers are run, fed with the values."""
    initializers = [(variable.initializer, value) for variable, value in values]
    sess.run(
        [initializer for initializer, _ in initializers],
        {initializer.inputs[1]: value for initializer, value in initializers},
    )


def save(sess: tf.Session, saver: tf.train.Saver, path: Path) -> None:
    """Write a checkpoint, making its folder if need be. Whenever the program is killed, a whole one stays.

    A checkpoint is two files, and no system renames two at once. So one that replaces another is first put
    whole into a hidden folder beside it, which `restore` and `read_architecture` look into, and then copied
    to its place. `tidy` ends what a kill cut short.

    Raises:
        OSError: it cannot be written, as on a full disk; the checkpoint that was there stays.
    """
    from catdcgan.tf1 import tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as temporary:
        new = Path(temporary, NAME)
        try:
            saver.save(sess, str(new), write_meta_graph=False, write_state=False)
        except tf.errors.OpError as error:
            raise OSError(f"cannot save {path}: {error.message.splitlines()[0]}") from error
        for ending in ENDINGS:
            _to_disk(Path(f"{new}{ending}"))
        if not Path(f"{path}{ENDINGS[-1]}").exists():
            for ending in ENDINGS:
                os.replace(f"{new}{ending}", f"{path}{ending}")
            return
        _end_replacement(path)  # of an earlier program, if one was cut short
        os.replace(temporary, _replacement(path))
    _end_replacement(path)


def _replacement(path: str | os.PathLike[str]) -> Path:
    """The folder of a whole checkpoint that is about to replace the one at `path`."""
    return Path(path).with_name(f"{NEW}{Path(path).name}")


def _end_replacement(path: Path) -> None:
    """Copy a checkpoint from its folder to its place, if there is one. The folder goes, also if not whole."""
    folder = _replacement(path)
    if not folder.exists():
        return
    if _absent(folder / NAME):
        warnings.warn(f"{folder} holds no whole checkpoint: it is removed, and {path} stays", stacklevel=2)
    else:
        for ending in ENDINGS:
            with whole_or_nothing(f"{path}{ending}") as partial:
                shutil.copyfile(folder / f"{NAME}{ending}", partial)
                _to_disk(partial)
    with TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as temporary:
        os.replace(folder, Path(temporary, NAME))  # gone at one blow, so that no half of it is ever read


def _to_disk(file: Path) -> None:
    """Wait until the disk has a file, so that a power cut leaves no empty one under a good name."""
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


def tidy(folder: Path) -> None:
    """End or remove what a killed program left half-done in a folder of checkpoints."""
    for new in folder.glob(f"{NEW}*"):
        _end_replacement(folder / new.name.removeprefix(NEW))
    remove_partial(folder)
    for file in folder.glob(f"{NAME}-*{ENDINGS[0]}"):
        if not file.with_name(file.name.removesuffix(ENDINGS[0]) + ENDINGS[1]).exists():
            file.unlink()


def numbered(folder: Path) -> list[Path]:
    """The checkpoints ``model.ckpt-STEP`` in a folder, oldest step first."""
    names = (re.fullmatch(rf"{re.escape(NAME)}-(\d+)\.index", file.name) for file in folder.glob(f"{NAME}-*"))
    return [folder / f"{NAME}-{step}" for step in sorted(int(name[1]) for name in names if name)]


def latest(folder: Path) -> Path | None:
    """The checkpoint to go on from: the highest step, else ``model.ckpt``, else None."""
    if steps := numbered(folder):
        return steps[-1]
    return folder / NAME if (folder / f"{NAME}.index").exists() else None


def find_start(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None to start anew.

    Raises:
        CheckpointError: the folder holds a run and `resume` is False, or it holds none and `resume` is True.
    """
    start = latest(folder)
    if start and not resume:
        raise CheckpointError(
            f"{folder} holds a trained model already ({start.name}): resume it, or choose another folder"
        )
    if resume and not start:
        raise CheckpointError(f"nothing to resume: no {NAME} in {folder.absolute()}")
    return start


def remove_old(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` numbered checkpoints."""
    for path in numbered(folder)[: -keep or None]:
        for ending in reversed(ENDINGS):  # the index first: no half of a checkpoint is ever found
            Path(f"{path}{ending}").unlink(missing_ok=True)


def _named(path: str | os.PathLike[str]) -> Path:
    """The checkpoint that a path means: that very one, the one of this file, or the one in this folder."""
    path = Path(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", os.fspath(path)))
    if not path.is_dir() or Path(f"{path}{ENDINGS[-1]}").exists():
        return path
    models = path / "models"
    return (models if models.is_dir() else path) / NAME


def _absent(path: str | os.PathLike[str]) -> list[str]:
    """The endings of a checkpoint's files that are not there."""
    return [ending for ending in ENDINGS if not Path(f"{os.fspath(path)}{ending}").is_file()]


@contextmanager
def _reader(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a TensorFlow CheckpointReader; raises as `read_architecture` where that cannot be done."""
    path = _named(path)
    replacement = _replacement(path) / NAME
    source = path if _absent(replacement) else replacement
    if absent := _absent(source):
        folder = Path(path).parent
        there = sorted(file.stem for file in folder.glob("*.index")) if folder.is_dir() else []
        kind = CheckpointError if ENDINGS[-1] in absent else DamagedError
        raise kind(
            f"no checkpoint {path}: expected the file {path}{absent[0]}, "
            f"found {_some(there) if there else 'no checkpoint'} in {folder.absolute()}"
        )
    from catdcgan.tf1 import tf

    with _plain_path(source) as plain:
        try:
            reader = tf.train.load_checkpoint(plain)
        except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
            raise DamagedError(f"{path} is damaged: its index cannot be read ({error})") from error
        yield reader


@contextmanager
def _plain_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a path to a checkpoint at which TensorFlow finds it: another one if the folder is "run [v2]".

    TensorFlow saves to a path as it is, but takes one to read from as a glob pattern, which may not match
    itself. It knows no escape: the path is matched first, and then opened literally.
    """
    from catdcgan.tf1 import tf

    if tf.io.gfile.glob(f"{os.fspath(path)}{ENDINGS[-1]}"):
        yield os.fspath(path)
        return
    with TemporaryDirectory() as temporary:
        for ending in ENDINGS:
            file, link = Path(f"{os.fspath(path)}{ending}").absolute(), Path(temporary, f"{NAME}{ending}")
            try:
                link.symlink_to(file)
            except OSError:  # Windows lets not everyone make links
                shutil.copyfile(file, link)
        yield str(Path(temporary, NAME))


def _some(names: Iterable[str]) -> str:
    """The first few names and how many there are."""
    names = sorted(names)
    return ", ".join(names[:4]) + (f" ... ({len(names)} in all)" if len(names) > 4 else "")
