"""How a run begins or continues in its folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from catdcgan.errors import InputError
from catdcgan.files import remove_partial
from catdcgan.latents import random_latents
from catdcgan.run.checkpoint import restore_newest
from catdcgan.run.checkpoint_files import find_start, tidy
from catdcgan.run.folder import RunFolder
from catdcgan.run.history import rewind_history
from catdcgan.run.memory import refuse_beyond_memory
from catdcgan.run.precision import settle_precision
from catdcgan.run.record import changed_options, record_start, versions
from catdcgan.run.schedule import Position, Schedule
from catdcgan.run.start_from import restore_start
from catdcgan.run.workers import Workers
from catdcgan.settings import PROBABILITY, SURENESS, Settings, to_record
from catdcgan.tf1 import GPUS, tf


class TrainingData(NamedTuple):
    """The images of a run, as passed to `train`."""

    get_batches: Callable[..., Iterable[np.ndarray]]
    shape: tuple[int, int, int, int]  # (images, s, s, c)
    fingerprint: str | None
    held_out: np.ndarray | None = None  # images that training does not see (n, s, s, c), uint8 or in [-1, 1]
    put_aside: int = 0  # how many of them are a part of the same pictures

    def facts(self) -> dict[str, Any]:
        """What tells these images from others, as JSON can hold it."""
        facts = {"images": self.shape[0], "shape": self.shape[1:], "fingerprint": self.fingerprint}
        return facts | ({"put_aside": self.put_aside} if self.put_aside else {})


def checked_settings(
    settings: Settings, data: TrainingData, folder: RunFolder, resume: bool, workers: Workers, quiet: bool
) -> Settings:
    """Check what can be checked before anything is built or written, and settle the precision.

    Raises:
        ValueError: the run would never end, or has an unknown distribution of latents or precision.
        CheckpointError: there is a run and should be none, or the reverse.
        InputError: the workers cannot train together, or not with held-out images; the run ends before the
            generator learns; or mixed precision cannot work.
        TrainingError: memory is too small.
    """
    if settings.epoch_count is None and settings.step_count is None:
        raise ValueError("training would never end: give epoch_count or step_count")
    random_latents(0, settings.z_dim, 0, settings.z_distribution)  # raises if the distribution is unknown
    workers.check(settings.batch_size)
    if workers.size > 1 and data.held_out is not None:
        raise InputError("--held-out works in a single process: leave it out, or train with one worker")
    last_step = Schedule(settings, data.shape[0], Position()).last_step
    if 0 < last_step <= settings.generator_waits:
        raise InputError(
            f"the generator would learn nothing: it waits for {settings.generator_waits} steps, and training "
            f"ends after {last_step}. Raise --steps or --epochs, or lower --generator-waits"
        )
    if workers.leads:
        find_start(folder.models, resume)
    if not GPUS:
        batch_size = math.ceil(settings.batch_size / workers.size)
        refuse_beyond_memory(replace(settings, batch_size=batch_size), data.shape[0])
    return settle_precision(settings, quiet)


def common_facts(settings: Settings, data: TrainingData, resume: bool) -> dict[str, Any]:
    """What must be the same for all workers that train together; the images may be in different folders."""
    computing = versions()
    same = {name: computing[name] for name in ("catdcgan", "tensorflow", "numpy", "device")}
    return (
        to_record(settings)
        | {"data_source": None, "start_from": None}
        | data.facts()
        | same
        | {"resume": resume}
    )


def start_run(
    sess: tf.Session,
    counters: Sequence[tf.Variable],
    sampling_variables: Mapping[str, tf.Variable],
    settings: Settings,
    data: TrainingData,
    folder: RunFolder,
    resume: bool,
    workers: int = 1,
) -> Position:
    """Restore the run, if there is one to continue, record the start in run.json, and tidy the folder.

    Call it under the folder's lock, with a session whose variables are initialized.

    Args:
        sess: the session.
        counters: the variables that hold a `Position`.
        sampling_variables: the generator's variables, or their averages, by the article's names.
        settings: of this start.
        data: the images.
        folder: of the run.
        resume: True if there must be a run to continue, False if there must be none.
        workers: number of processes that train.

    Returns:
        The position of the run.

    Raises:
        CheckpointError: there is a run and should be none, or the reverse; or its checkpoint does not fit.
        RunError: the run was started with other settings or images.
        OSError: a file cannot be read or written.
    """
    record = to_record(settings)
    facts = data.facts()
    origin = None
    # Checked again now that the lock is held: another program may have started a run in the meantime.
    resumed = find_start(folder.models, resume) is not None
    if resumed:
        changed_options(folder.record, record, facts)
        # A checkpoint without our counters or averages starts at step 0, averaging from its weights; one
        # without a probability of augmentation starts with 0.
        substitutes: dict[str, str | None] = {counter.op.name: None for counter in counters}
        substitutes |= {PROBABILITY: None, SURENESS: None}
        substitutes |= {average.op.name: name for name, average in sampling_variables.items()}
        restore_newest(sess, folder.models, tf.global_variables(), substitutes)
    elif settings.start_from:
        origin = restore_start(sess, settings.start_from, sampling_variables)
    at = Position(*(int(count) for count in sess.run(counters)))
    record_start(folder.record, at.step if resumed else None, record, facts, workers, origin)
    tidy(folder.models)
    for subfolder in {folder.images, folder.log}:
        remove_partial(subfolder)
    rewind_history(folder.history, at.step)
    return at
