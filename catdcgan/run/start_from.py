"""A new run that begins with the weights of another: ``--start-from``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catdcgan.errors import InputError
from catdcgan.run.checkpoint import read_architecture, restore, variable_names
from catdcgan.run.checkpoint_files import ENDINGS, existing_checkpoint, find_checkpoint
from catdcgan.settings import Settings, option_names
from catdcgan.tf1 import tf

DISCRIMINATOR = "discriminator.ckpt"  # may stand beside a model.ckpt, which holds a generator alone
WAIT = 300  # steps in which a new discriminator learns alone; it would ruin a trained generator otherwise


def settings_of(path: str) -> dict[str, Any]:
    """The settings, by name, that a run takes from the checkpoint that it starts from.

    Raises:
        CheckpointError: as in `read_architecture`.
    """
    return _sizes(path) | {"generator_waits": 0 if discriminator_of(path) else WAIT}


def _sizes(path: str) -> dict[str, Any]:
    made = read_architecture(path)
    sizes = {"z_dim": made.z_dim, "base_filters": made.base_filters, "image_size": made.image_size}
    return sizes | {"image_mode": made.image_mode}


def refuse_contradiction(settings: Settings) -> None:
    """Refuse settings that do not fit the checkpoint to start from.

    Raises:
        InputError: one of them does not.
    """
    path, options = str(settings.start_from), option_names()
    for name, value in _sizes(path).items():
        given = getattr(settings, name)
        if given != value:
            raise InputError(
                f"{options[name]} {given} does not fit {path}, which was trained with {value}: leave it out"
            )


def discriminator_of(path: str | os.PathLike[str]) -> Path | None:
    """The checkpoint with the discriminator that belongs to a generator: its own, or one beside it."""
    if any(name.startswith("discriminator/") for name in variable_names(path)):
        return find_checkpoint(path)
    beside = find_checkpoint(path).with_name(DISCRIMINATOR)
    return beside if Path(f"{beside}{ENDINGS[-1]}").exists() else None


def restore_start(
    sess: tf.Session, path: str, sampling_variables: Mapping[str, tf.Variable]
) -> dict[str, str | None]:
    """Begin with the weights in a checkpoint: of the generator, and of its discriminator if there is one.

    Args:
        sess: the session, in which all variables are initialized.
        path: as in `read_architecture`.
        sampling_variables: the variables to sample with, by the article's names.

    Returns:
        What run.json says of it: files and fingerprint.

    Raises:
        CheckpointError: as in `restore`.
    """
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    averages = {average.op.name: name for name, average in sampling_variables.items()}
    restore(sess, path, [variables[name] for name in sampling_variables])
    restore(sess, path, [*sampling_variables.values()], averages)
    discriminator = discriminator_of(path)
    if discriminator:
        own = [
            v for name, v in variables.items() if name.startswith("discriminator/") and "/Adam" not in name
        ]
        restore(sess, discriminator, own)
    return {
        "generator": str(path),
        "fingerprint": fingerprint(path),
        "discriminator": str(discriminator) if discriminator else None,
    }


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Hash the values in a checkpoint to 16 hexadecimal digits."""
    data = Path(f"{existing_checkpoint(path)}{ENDINGS[0]}")
    return hashlib.blake2b(data.read_bytes(), digest_size=8).hexdigest()
