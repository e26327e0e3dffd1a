"""Training: the article's `train`, and the loop that it runs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from time import monotonic
from typing import TextIO

import numpy as np

from catdcgan.data.dataset import epoch_batches, prefetch
from catdcgan.errors import TrainingError
from catdcgan.graph import training_graph
from catdcgan.images import image_grid, show_image
from catdcgan.parallel.group import Group
from catdcgan.run import checkpoint
from catdcgan.run.alone import Alone, by_worker_0
from catdcgan.run.checkpoint_files import NAME, latest, remove_old
from catdcgan.run.events import event_writer, write_scalars
from catdcgan.run.folder import RunFolder
from catdcgan.run.grids import Grids
from catdcgan.run.held_out import judge
from catdcgan.run.history import checked_figures, read_losses, tagged
from catdcgan.run.progress import Progress, Speed
from catdcgan.run.schedule import Position, Schedule
from catdcgan.run.start import TrainingData, checked_settings, common_facts, start_run
from catdcgan.run.step_input import step_input
from catdcgan.run.tensors import TrainingGraph
from catdcgan.run.watch import Watch
from catdcgan.run.workers import ONE_PROCESS, Workers
from catdcgan.sampling import generate_samples, refresh_statistics
from catdcgan.screen import best_effort_output, say
from catdcgan.settings import Settings, settings_from
from catdcgan.tf1 import tf

EVENT_STEPS = 10  # steps between TensorBoard's numbers: enough detail, and small files even after days

Evaluate = Callable[[np.ndarray], Mapping[str, float]]
Feed = dict[tf.Tensor, np.ndarray | float]
NOT_FINITE = "is no longer a finite number. Training has diverged: lower the learning rates, then resume"


def train(
    epoch_count: int | None,
    batch_size: int,
    z_dim: int,
    learning_rate_D: float,
    learning_rate_G: float,
    beta1: float,
    get_batches: Callable[..., Iterable[np.ndarray]],
    data_shape: tuple[int, int, int, int],
    data_image_mode: str,
    alpha: float,
    smooth: float = 0.1,
    base_filters: int = 64,
    seed: int = 0,
    resume: bool = False,
    model_dir: str | Path = "models",
    image_dir: str | Path = "images",
    step_count: int | None = None,
    save_every_epochs: int = 5,
    sample_every_steps: int = 10,
    show_every_epochs: int = 15,
    keep_checkpoints: int = 5,
    flip: bool = False,
    average_decay: float = 0.0,
    augment: Sequence[str] = (),
    z_distribution: str = "uniform",
    save_every_minutes: float = 0,
    evaluate: Callable[[np.ndarray], Mapping[str, float]] | None = None,
    log_dir: str | Path | None = None,
    event_files: bool = False,
    data_fingerprint: str | None = None,
    quiet: bool = False,
    xla: bool = False,
    mixed_precision: bool | str = False,
    decay_part: float = 0.0,
    data_source: str | None = None,
    workers: Sequence[str] = (),
    worker: int = 0,
    statistics_latents: int = 0,
    held_out_images: np.ndarray | None = None,
    start_from: str | None = None,
    generator_waits: int = 0,
    augment_target: float = 0.0,
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train both networks: for each batch a discriminator step, then a generator step on the same latents.

    Writes ``model_dir/model.ckpt`` (the generator), ``model_dir/model.ckpt-STEP`` (all that resuming needs),
    ``image_dir/step_STEP.png`` (grids of the same latents throughout the run, from step 0 on), and in
    `log_dir` ``history.jsonl`` (losses) and ``run.json`` (settings, data, versions, starts).

    The same seed gives the same bits on the same CPU with the same number of cores, however often the run is
    stopped and resumed. Ctrl-C, SIGTERM and SIGHUP finish the step and save before they take effect, unless
    the program was started to ignore them. After anything worse, such as ``kill -9``, resuming continues from
    the last checkpoint that is not damaged.

    Args:
        epoch_count: passes over the data in total; None for no limit, which needs a `step_count`.
        batch_size: images in a step.
        z_dim: length of a latent.
        learning_rate_D: the discriminator's learning rate.
        learning_rate_G: the generator's learning rate.
        beta1: Adam's decay rate of the first moment.
        get_batches: ``get_batches(batch_size)`` returns the batches (n, s, s, c) of one epoch, float32 in
            [-1, 1] or uint8 from 0 to 255. If it also takes an ``epoch``, as `Dataset.get_batches` does, it
            gets the epoch's number (from 0), so that a resumed run sees the batches of one never stopped.
        data_shape: (images, s, s, c).
        data_image_mode: "RGB" or "L".
        alpha: slope of the leaky ReLU below zero.
        smooth: how far the label of real images stays below 1.
        base_filters: width of both networks.
        seed: of initial values, latents and flips.
        resume: continue the run in `model_dir` where it was saved; False starts a new run.
        model_dir: folder of checkpoints.
        image_dir: folder of sample grids.
        step_count: stop after this many steps in total, unless the epochs end first.
        save_every_epochs: epochs between checkpoints; 0 for checkpoints at the start and the end only.
        sample_every_steps: steps between sample grids; 0 for none. The last step gets one too.
        show_every_epochs: epochs between grids shown on the screen; 0 for none.
        keep_checkpoints: number of numbered checkpoints to keep; the oldest are deleted.
        flip: mirror each real image, left to right, with probability 1/2.
        average_decay: above 0, such as 0.999, sample grids and ``model.ckpt`` use an exponential moving
            average of the generator (Yazici et al. 2018, arXiv:1806.04498), which is steadier.
        augment: `augment_images` policies, such as ("color", "translation", "cutout"): augment real and
            generated images alike before they are judged, for small datasets.
        z_distribution: of the latents: "uniform" in [-1, 1], or the standard "normal".
        save_every_minutes: minutes between checkpoints, in addition to those of the epochs; 0 for none.
        evaluate: called every `sample_every_steps` with the images of the grid, uint8 (25, s, s, c). The
            figures that it returns, real numbers by new names, go into the history.
        log_dir: folder of the history, settings and event files; `model_dir` by default.
        event_files: write TensorBoard's event files into `log_dir`: losses, speed, sample grids, the graph.
        data_fingerprint: identifies these images, as `Dataset.fingerprint` does.
        quiet: show no progress.
        xla: compile the step with XLA, which takes a minute or more at the start.
        mixed_precision: multiply in bfloat16, which is faster on CPUs and GPUs with instructions for it; slow
            on others. "auto": only where the device has them. "on" and "off" are True and False.
        decay_part: over this last part of the run, such as 0.3, both learning rates fall linearly to 0.
        data_source: where the images come from, such as the path of their folder, for ``run.json``.
        workers: "host:port" of every process that trains this model, the same list in all of them; for
            trusted networks only (docs/several-machines.md). Empty if this process trains alone.
        worker: which of `workers` this one is, from 0. Only worker 0 writes files and returns what it saw.
        statistics_latents: above 0, such as 256, grids and ``model.ckpt`` use batch norm's statistics of so
            many pictures of the generator; moving averages lag, and make the first grids gray.
        held_out_images: like the batches; what the discriminator says of them goes into the history.
        start_from: a checkpoint of the same sizes, whose weights the run begins with.
        generator_waits: steps at the start in which the discriminator learns alone.
        augment_target: above 0 and below 1, such as 0.6: `augment` with a probability that follows the
            discriminator, as in `follow_overfitting`; 0 augments every image.

    Returns:
        ``(losses, samples)``: (d_loss, g_loss) of every step of the run, and the files of its sample grids.

    Raises:
        CheckpointError: `model_dir` holds a run though `resume` is False, or none though it is True, or the
            run's checkpoint does not fit or cannot be read.
        RunError: another program trains in `model_dir`, the run or another worker was started with other
            settings, or a worker cannot be reached.
        InputError: `mixed_precision` cannot work because ONEDNN_MAX_CPU_ISA keeps oneDNN from bfloat16,
            `workers` cannot train together, or there is an `augment_target` without `augment`.
        TrainingError: a loss or a weight is not finite, a file cannot be written, the folder was moved or
            removed, memory is too small, a worker has ended, `get_batches` gives no images in an epoch, or
            `evaluate` returns anything but real numbers by name. The last good checkpoint is kept.
        ValueError: the images are not square, or their side is not a multiple of 16 from 32 up; an unknown
            `augment`, `z_distribution` or `mixed_precision`; or neither `epoch_count` nor `step_count`.
        KeyboardInterrupt, SystemExit: after Ctrl-C, SIGTERM or SIGHUP, once everything is saved.
    """
    arguments = locals()
    _, height, width, _ = data_shape
    if height != width:
        raise ValueError(f"training needs square images, not {height} x {width}")
    others = {"image_size": height, "image_mode": data_image_mode, "held_out": None}
    settings = settings_from(arguments | others)
    data = TrainingData(get_batches, data_shape, data_fingerprint, held_out_images)
    folder = RunFolder(Path(model_dir), Path(image_dir), Path(log_dir or model_dir))
    run = (settings, data, folder, resume, show_every_epochs, evaluate, event_files, quiet)
    return run_training(*run, workers=Workers(tuple(workers), worker))


def run_training(
    settings: Settings,
    data: TrainingData,
    folder: RunFolder,
    resume: bool = False,
    show_every_epochs: int = 0,
    evaluate: Evaluate | None = None,
    event_files: bool = False,
    quiet: bool = False,
    workers: Workers = ONE_PROCESS,
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train as described in `train`; see there for the arguments and the errors.

    The graph is built before the lock is taken, because that takes seconds. Another program may start a run
    in the meantime, so `start_run` checks the folder again under the lock.
    """
    event_files, quiet = event_files and workers.leads, quiet or not workers.leads
    settings = checked_settings(settings, data, folder, resume, workers, quiet)
    facts = common_facts(settings, data, resume)
    group = Group(workers, facts, folder.models) if workers.size > 1 else Alone()
    with tf.Graph().as_default() as graph:
        net = group.build(partial(training_graph, settings))
        # `remove_old` deletes old checkpoints, so neither saver may delete any (max_to_keep=0).
        training_saver = tf.train.Saver(tf.global_variables(), max_to_keep=0)
        generator_saver = tf.train.Saver(net.sampling_variables, max_to_keep=0)
        initialize = tf.global_variables_initializer()
        graph.finalize()  # from here on, adding an operation by mistake is an error, not a leak
        with group.session(folder) as (sess, folder, interrupts):
            sess.run(initialize)
            here = (settings, data, folder, resume and group.leads, group.size)
            at = group.start(sess, net, partial(start_run, sess, net.counters, net.sampling_variables, *here))
            schedule = Schedule(settings, data.shape[0], at)
            with (
                folder.history.open("a", buffering=1) as records,  # buffering=1: line by line
                event_writer(folder.log, at.step, graph) if event_files else nullcontext() as events,
                Progress(schedule.images_done, schedule.images_end, quiet) as progress,
            ):
                training = Training(
                    settings=settings,
                    data=data,
                    folder=folder,
                    net=net,
                    training_saver=training_saver,
                    generator_saver=generator_saver,
                    sess=sess,
                    at=at,
                    schedule=schedule,
                    records=records,
                    events=events,
                    progress=progress,
                    evaluate=evaluate,
                    show_every_epochs=show_every_epochs,
                    group=group,
                    grids=Grids(
                        folder, settings.image_mode, partial(generate_samples, sess, net, settings), events
                    ),
                    watch=Watch(settings.smooth),
                )
                training.loop(interrupts)
            if interrupts and group.leads:
                with best_effort_output(sys.stdout):
                    say(f"Interrupted after step {at.step}. Saved in {folder.models}.")
            return read_losses(folder.history), training.grids.files


@dataclass(kw_only=True)
class Training:
    """A run in progress: its graph and session, its position, and what happens at each step."""

    settings: Settings
    data: TrainingData
    folder: RunFolder
    net: TrainingGraph
    training_saver: tf.train.Saver  # of all that resuming needs
    generator_saver: tf.train.Saver  # of the variables to sample with, under the article's names
    sess: tf.Session
    at: Position
    schedule: Schedule
    records: TextIO  # the history
    events: tf.io.TFRecordWriter | None
    progress: Progress
    evaluate: Evaluate | None
    show_every_epochs: int
    group: Alone
    grids: Grids
    watch: Watch
    speed: Speed = field(default_factory=Speed)
    saved_at: float = field(default_factory=monotonic)

    def loop(self, interrupts: Collection[int]) -> None:
        """Train until the run is over or `interrupts` holds a signal."""
        self.begin()
        while not self.is_over and not interrupts:
            for batch, feed in prefetch(self.feeds()):
                record = self.take_step(feed)
                self.look(record, batch)
                self.note(record, len(batch))
                if interrupts or self.is_over:
                    break
                if monotonic() >= self.save_due:
                    self.save()
            else:
                self.end_epoch()
        self.save()
        self.write_last_grid()

    @property
    def is_over(self) -> bool:
        """Whether all epochs or steps are done."""
        return self.schedule.is_over(self.at)

    @property
    def save_due(self) -> float:
        """When the next checkpoint is due by the clock, in the seconds of `monotonic`."""
        return self.saved_at + (60 * self.settings.save_every_minutes or math.inf)

    @by_worker_0
    def begin(self) -> None:
        """Save a new run and write its first grid, or list the existing grids of a resumed run."""
        if latest(self.folder.models):
            self.grids.files = self.folder.grids(self.at.step)
        else:
            self.save()  # find out now, not in an hour, if the folder is not writable
        if self.settings.sample_every_steps and not self.grids.files:
            self.grids.write(self.at.step, self.records)
        self.saved_at = monotonic()

    def feeds(self) -> Iterator[tuple[np.ndarray, Feed]]:
        """The rest of the epoch: each batch, with the feed of the step on it."""
        batches = epoch_batches(self.data.get_batches, self.settings.batch_size, self.at.epoch)
        return map(self.feed, count(self.at.step), islice(batches, self.at.epoch_step, None))

    def feed(self, step: int, batch: np.ndarray) -> tuple[np.ndarray, Feed]:
        """The batch, as the step that follows `step` steps sees it, and that step's feed."""
        settings, net = self.settings, self.net
        batch, z = step_input(settings, step, batch)
        factor = self.schedule.learning_rate_factor(step)
        rate_G = 0.0 if self.schedule.generator_waits(step) else factor * settings.learning_rate_G
        rates = {net.lr_D: factor * settings.learning_rate_D, net.lr_G: rate_G}
        pixels = net.pixels if batch.dtype == np.uint8 else net.input_real
        return batch, {pixels: batch, net.input_z: z, **rates}

    def take_step(self, feed: Feed) -> dict[str, float]:
        """Train both networks on a batch, and return the step's record."""
        metrics, _ = self.group.run_step(self.sess, [self.net.metrics, self.net.step], feed)
        losses = {name: float(value) for name, value in metrics.items()}
        if not math.isfinite(losses["d_loss"] + losses["g_loss"]):
            raise TrainingError(f"in step {self.at.step + 1} a loss {NOT_FINITE}")
        self.at.step += 1
        self.at.epoch_step += 1
        return {"step": self.at.step, "epoch": self.at.epoch + 1, **losses}

    @by_worker_0
    def look(self, record: dict[str, float], batch: np.ndarray) -> None:
        """Check the losses; every `sample_every_steps`, also write a grid, check and evaluate its images."""
        self.watch.check_losses(self.at.step, record["d_loss"])
        every = self.settings.sample_every_steps
        if every and self.at.step % every == 0:
            images = self.grids.write(self.at.step, self.records)
            self.watch.check_images(self.at.step, images, batch)
            if self.data.held_out is not None:
                record["d_held_out"] = judge(self.sess, self.net, self.data.held_out, self.settings)
                self.watch.check_outputs(self.at.step, record)
            if self.evaluate:
                record |= checked_figures(self.at.step, self.evaluate(images))

    @by_worker_0
    def note(self, record: dict[str, float], images: int) -> None:
        """Show progress, and write the record of a step to the history and the event file."""
        record["images_per_second"] = round(self.speed.count(images), 1)
        text = f"{self.schedule.place(self.at)}, D {record['d_loss']:.3f}, G {record['g_loss']:.3f}"
        to_save = self.schedule.images_to_save(self.at) * self.speed.seconds_per_image
        to_save = min(to_save, self.save_due - monotonic())
        self.progress.update(images, text, self.speed.seconds_per_image, to_save)
        self.records.write(json.dumps(record) + "\n")
        if self.events and self.at.step % EVENT_STEPS == 0:
            write_scalars(self.events, self.at.step, tagged(record))

    def end_epoch(self) -> None:
        """Count an epoch; save, and show a grid, if they are due."""
        self.at.epoch, self.at.epoch_step = self.at.epoch + 1, 0
        if self.schedule.saves_after_epoch(self.at.epoch):
            self.save()
        if self.group.leads and self.show_every_epochs and self.at.epoch % self.show_every_epochs == 0:
            show_image(image_grid(self.grids.generate(), self.settings.image_mode))

    @by_worker_0
    def save(self) -> None:
        """Write both checkpoints of this step, and delete the oldest.

        Raises:
            TrainingError: a weight is not finite, or the folder was moved or removed.
            OSError: they cannot be written.
        """
        if not self.sess.run(self.net.all_finite):
            raise TrainingError(f"after step {self.at.step} a weight {NOT_FINITE}")
        self.folder.refuse_if_moved(self.records)
        os.fsync(self.records.fileno())  # no checkpoint is ahead of the history, even after a power cut
        refresh_statistics(self.sess, self.net, self.settings)
        counts = (self.at.step, self.at.epoch, self.at.epoch_step)
        checkpoint.set_variables(self.sess, zip(self.net.counters, counts, strict=True))
        checkpoint.save(self.sess, self.training_saver, self.folder.models / f"{NAME}-{self.at.step}")
        checkpoint.save(self.sess, self.generator_saver, self.folder.models / NAME)
        remove_old(self.folder.models, self.settings.keep_checkpoints)
        self.saved_at = monotonic()

    @by_worker_0
    def write_last_grid(self) -> None:
        """Write the last step's grid if it is missing; after saving, so that each grid's step was saved."""
        if self.settings.sample_every_steps and self.grids.files[-1] != self.folder.grid(self.at.step):
            self.grids.write(self.at.step, self.records)
