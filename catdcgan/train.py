"""Training: the article's `train`, which builds the graph from the article's functions and runs it."""

from __future__ import annotations

import inspect
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image

from catdcgan import checkpoint
from catdcgan.data import made_ahead, steps_per_epoch
from catdcgan.events import event_writer, write_picture, write_scalars
from catdcgan.files import remove_partial
from catdcgan.history import HISTORY_NAME, checked_figures, read_losses, rewind_history, tagged
from catdcgan.images import grid_cells
from catdcgan.memory import SMALLER, refuse_beyond_memory
from catdcgan.progress import Progress, shown_if_possible
from catdcgan.run import RUN_NAME, changed_options, lock, record_start
from catdcgan.sample import random_latents, show_generator_output
from catdcgan.settings import settings_from, to_record
from catdcgan.step import TrainingGraph, training_graph
from catdcgan.tf1 import GPUS, tf
from catdcgan.trouble import TrainingError, Watch

SAMPLE_COUNT = 25  # pictures in a sample grid
STEP_STREAM = 1  # keeps the random numbers of the steps apart from those of the data's order
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
EVENT_STEPS = 10  # steps between the numbers that TensorBoard gets: enough to see, and small after days


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
    mixed_precision: bool = False,
    decay_part: float = 0.0,
    data_source: str | None = None,
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train both networks: for each batch a discriminator step, then a generator step on the same latents.

    Makes ``model_dir/model.ckpt`` (the generator), ``model_dir/model.ckpt-STEP`` (all that resuming needs)
    and ``image_dir/step_STEP.png`` (grids of the same latents throughout the run, from step 0 on); and in
    `log_dir` ``history.jsonl`` (losses) and ``run.json`` (settings, data, versions, starts).

    The same seed gives the same bits on the same kind of CPU, however often the run is stopped and resumed.
    Ctrl-C, SIGTERM and SIGHUP (a dropped connection) finish the step and save before they take effect; one
    that the program was started to ignore, as ``nohup`` does, stays ignored. After anything worse, ``kill
    -9`` or a power cut, resuming goes on from the last checkpoint, or if that is damaged, with a warning,
    from the one before.

    Args:
        epoch_count: passes over the data in all, those before a resume included; None for no limit, which
            needs a `step_count`.
        batch_size: images in a step.
        z_dim: length of a latent.
        learning_rate_D: the discriminator's learning rate.
        learning_rate_G: the generator's learning rate.
        beta1: Adam's decay of the first moment.
        get_batches: ``get_batches(batch_size)`` gives the batches (n, s, s, c) of one epoch, float32 in
            [-1, 1] or uint8 from 0 to 255. If it takes an ``epoch`` too, as `Dataset.get_batches` does, it
            gets the epoch's number (from 0), so that a resumed run sees the batches that it would have seen.
            A thread takes a batch from it while the step on the one before runs.
        data_shape: (images, s, s, c).
        data_image_mode: "RGB" or "L".
        alpha: slope of the leaky ReLU below zero.
        smooth: how far the label of real images stays below 1.
        base_filters: width of both networks.
        seed: of initial values, latents and flips.
        resume: go on with the run in `model_dir` where it was saved; False starts anew.
        model_dir: folder of checkpoints and losses; made if need be.
        image_dir: folder of sample grids; made if need be.
        step_count: stop after so many steps in all, if the epochs have not ended before.
        save_every_epochs: epochs between checkpoints; 0 for none but those at the start and at the end.
        sample_every_steps: steps between sample grids; 0 for none. The last step gets one too.
        show_every_epochs: epochs between grids shown on the screen; 0 for none.
        keep_checkpoints: how many of the numbered checkpoints stay; the oldest go.
        flip: mirror each real image, left to right, with probability 1/2.
        average_decay: above 0, such as 0.999, pictures and ``model.ckpt`` come from an exponential moving
            average of the generator (Yazici et al. 2018, arXiv:1806.04498), which is steadier than the
            generator itself.

        augment: `diff_augment` policies, such as ("color", "translation", "cutout"): real images and
            forgeries are changed alike before they are judged, for when photos are few.
        z_distribution: of the latents: "uniform" in [-1, 1], or the standard "normal".
        save_every_minutes: minutes between checkpoints, beside those of the epochs; 0 for none.
        evaluate: is called with the pictures of the grids of every `sample_every_steps`, uint8 (25, s, s, c),
            and gives figures by name, real numbers, which go into the history. Names of the history's own are
            taken. It runs outside the graph and changes nothing.
        log_dir: folder of the history, settings and event files; by itself `model_dir`.
        event_files: write TensorBoard's event files into `log_dir`: losses, speed, sample grids, the graph.
        data_fingerprint: tells the images from others, as `Dataset.fingerprint` does.
        quiet: show no progress.
        xla: compile the step with XLA; it takes a minute or more at the start.
        mixed_precision: multiply in bfloat16, which a GPU from 2020 on does faster than float32.
        decay_part: over this last part of the run, such as 0.3, both learning rates fall to 0 in a straight
            line, so that the average no longer runs after a generator that jumps about; 0 for constant rates.
        data_source: where the images come from, such as the path of their folder, for ``run.json``.

    Returns:
        ``(losses, samples)``: (d_loss, g_loss) of every step of the run, and the files of its sample grids.

    Raises:
        CheckpointError: `model_dir` holds a run though `resume` is False, or none though it is True, or the
            run's checkpoint does not fit or cannot be read.
        RunError: another program trains in `model_dir`, or the run was started with other settings.
        InputError: `mixed_precision` would end the process: ONEDNN_MAX_CPU_ISA is set to instructions that
            oneDNN has no bfloat16 for, on a CPU for which TensorFlow counts on it.
        TrainingError: a loss or a weight is no longer a finite number; a file cannot be written (the disk is
            full, say), or the folder was moved or removed; the memory does not suffice; or `get_batches`
            gives no image in an epoch or `evaluate` what is no figure. The last good checkpoint stays.
        ValueError: the images are not square, or their side is not a multiple of 16 from 32 up; or an unknown
            `augment` or `z_distribution`; or neither `epoch_count` nor `step_count` is given.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    settings = locals()
    model_dir, image_dir, log_dir = Path(model_dir), Path(image_dir), Path(log_dir or model_dir)
    image_count, height, width, channels = data_shape
    if epoch_count is None and step_count is None:
        raise ValueError("training would never end: give epoch_count or step_count")
    if height != width:
        raise ValueError(f"training needs square images, not {height} x {width}")
    random_latents(0, z_dim, 0, z_distribution)  # an unknown distribution is refused before anything is made
    run_settings = settings_from(settings | {"image_size": height, "image_mode": data_image_mode})
    options = to_record(run_settings)
    data = {"images": image_count, "shape": data_shape[1:], "fingerprint": data_fingerprint}
    checkpoint.find_start(model_dir, resume)  # a wrong folder is refused before anything is made in it
    if not GPUS:
        in_batch = min(batch_size, image_count)
        refuse_beyond_memory(height, channels, z_dim, base_filters, in_batch, bool(average_decay))

    with tf.Graph().as_default() as graph:
        net = training_graph(run_settings)
        training_saver = tf.train.Saver(tf.global_variables(), max_to_keep=0)
        generator_saver = tf.train.Saver(net.sampling_variables, max_to_keep=0)
        initialize = tf.global_variables_initializer()
        graph.finalize()  # from here on, an op added by mistake is an error and no leak

        with (
            lock(model_dir),
            _last_good_said(model_dir),
            tf.Session() as sess,
            _finish_step_first() as interrupts,
        ):
            start = checkpoint.find_start(model_dir, resume)
            if start:
                changed_options(log_dir / RUN_NAME, options, data)
            sess.run(initialize)
            if start:
                # A checkpoint without our counters or averages starts at step 0, averaging from its weights.
                substitutes = {counter.op.name: None for counter in net.counters}
                substitutes |= {average.op.name: name for name, average in net.sampling_variables.items()}
                checkpoint.restore_newest(sess, model_dir, tf.global_variables(), substitutes)
            step, epoch, epoch_step = (int(count) for count in sess.run(net.counters))
            record_start(log_dir / RUN_NAME, step, options, data)
            checkpoint.tidy(model_dir)
            for folder in {image_dir, log_dir}:
                remove_partial(folder)
            history = log_dir / HISTORY_NAME
            rewind_history(history, step)
            grids = sorted(image_dir.glob("step_*.png")) if start else []
            samples = [file for file in grids if file <= _grid(image_dir, step)]
            step_limit = math.inf if step_count is None else step_count
            epoch_limit = math.inf if epoch_count is None else epoch_count
            of_epochs = "" if epoch_count is None else f"/{epoch_count}"
            epoch_steps = steps_per_epoch(image_count, batch_size)
            here = epoch * epoch_steps + epoch_step
            end = int(min(epoch_limit * epoch_steps, here + max(0, step_limit - step)))
            last_step = step + end - here
            images_here, images_end = (_images_in(steps, image_count, batch_size) for steps in (here, end))
            save_seconds = 60 * save_every_minutes or math.inf
            watch = Watch(smooth)

            with (
                history.open("a", buffering=1) as records,  # buffering=1: a line is written once whole
                event_writer(log_dir, step, graph) if event_files else nullcontext() as events,
                Progress(images_here, images_end, quiet) as progress,
            ):

                def save() -> float:
                    """Save, and tell when."""
                    if not sess.run(net.all_finite):
                        raise TrainingError(_no_number(f"after step {step} a weight"))
                    _refuse_if_moved(history, records.fileno(), model_dir)
                    os.fsync(records.fileno())  # no checkpoint is ahead of the history, even in a power cut
                    checkpoint.set_variables(sess, zip(net.counters, (step, epoch, epoch_step), strict=True))
                    checkpoint.save(sess, training_saver, model_dir / f"{checkpoint.NAME}-{step}")
                    checkpoint.save(sess, generator_saver, model_dir / checkpoint.NAME)
                    checkpoint.remove_old(model_dir, keep_checkpoints)
                    return monotonic()

                def draw(save: bool = True, show: bool = False) -> Image.Image:
                    _refuse_if_moved(history, records.fileno(), model_dir)
                    file = _grid(image_dir, step)
                    grid = show_generator_output(
                        sess,
                        SAMPLE_COUNT,
                        net.input_z,
                        channels,
                        data_image_mode,
                        file,
                        save,
                        show,
                        seed=seed,
                        z_distribution=z_distribution,
                    )
                    if save:
                        samples.append(file)
                        if events:
                            write_picture(events, step, "samples", file)
                    return grid

                if not start:
                    save()  # a folder that cannot be written to is found out now, not in an hour
                if sample_every_steps and not samples:
                    draw()
                saved_at = monotonic()
                while epoch < epoch_limit and step < step_limit and not interrupts:
                    batches = islice(_epoch_batches(get_batches, batch_size, epoch), epoch_step, None)
                    for batch, feed in made_ahead(_feeds(net, batches, step, seed, z_distribution, flip)):
                        rate = min(1, (last_step - step) / (decay_part * last_step)) if decay_part else 1
                        rates = {net.lr_D: rate * learning_rate_D, net.lr_G: rate * learning_rate_G}
                        metrics, _ = sess.run([net.metrics, net.step], feed | rates)
                        losses = {
                            name: float(metrics[name]) for name in ("d_loss", "g_loss", "d_real", "d_fake")
                        }
                        d_loss, g_loss = losses["d_loss"], losses["g_loss"]
                        if not math.isfinite(d_loss + g_loss):
                            raise TrainingError(_no_number(f"in step {step + 1} a loss"))
                        step, epoch_step = step + 1, epoch_step + 1

                        record: dict[str, float] = {"step": step, "epoch": epoch + 1}
                        record |= losses
                        watch.losses(step, d_loss)
                        if sample_every_steps and step % sample_every_steps == 0:
                            drawn = grid_cells(draw(), height)
                            watch.pictures(step, drawn, batch)
                            record |= checked_figures(step, evaluate(drawn)) if evaluate else {}
                        to_save = saved_at + save_seconds - monotonic()
                        if save_every_epochs and progress.seconds_per_image:
                            epochs_left = save_every_epochs - epoch % save_every_epochs
                            images = epochs_left * image_count - epoch_step * batch_size
                            to_save = min(to_save, images * progress.seconds_per_image)
                        text = f"epoch {epoch + 1}{of_epochs}, step {step}: D {d_loss:.3f}, G {g_loss:.3f}"
                        record["images_per_second"] = round(progress.update(len(batch), text, to_save), 1)
                        records.write(json.dumps(record) + "\n")
                        if events and step % EVENT_STEPS == 0:
                            write_scalars(events, step, tagged(record))
                        if interrupts or step >= step_limit:
                            break
                        if monotonic() - saved_at >= save_seconds:
                            saved_at = save()
                    else:  # the epoch ran to its end
                        epoch, epoch_step = epoch + 1, 0
                        if save_every_epochs and epoch % save_every_epochs == 0 and epoch < epoch_limit:
                            saved_at = save()
                        if show_every_epochs and epoch % show_every_epochs == 0:
                            draw(save=False, show=True)
                save()
                if sample_every_steps and samples[-1] != _grid(image_dir, step):
                    draw()  # after saving: no grid is of a step that a resumed run does not know
            if interrupts:
                text = f"Interrupted after step {step}. Saved in {model_dir}: resuming goes on from there."
                with shown_if_possible(sys.stdout):
                    print(text)
    return read_losses(history), samples


def _images_in(steps: int, image_count: int, batch_size: int) -> int:
    """How many images so many steps see; the last batch of an epoch holds what is left."""
    epochs, rest = divmod(steps, steps_per_epoch(image_count, batch_size))
    return epochs * image_count + min(rest * batch_size, image_count)


def _no_number(what: str) -> str:
    return (
        f"{what} is no longer a finite number. Training has diverged: lower the learning rates, then resume"
    )


@contextmanager
def _last_good_said(model_dir: Path) -> Iterator[None]:
    """Say with an error that ends training which checkpoint is good, and that resuming starts there."""
    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{error}; {_last_good(model_dir)}") from error
    except OSError as error:
        remedy = "Mend that (is the disk full?), then resume"
        raise TrainingError(f"{error}. {remedy}; {_last_good(model_dir)}") from error
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"out of memory ({reason}): {SMALLER}; {_last_good(model_dir)}") from error


def _last_good(model_dir: Path) -> str:
    good = checkpoint.latest(model_dir)
    return f"the last good checkpoint is {good}" if good else f"there is no checkpoint in {model_dir}"


def _refuse_if_moved(history: Path, open_history: int, model_dir: Path) -> None:
    """Notice that the folder of the run is no longer where it was; the open history moved with it.

    Raises:
        TrainingError: it was moved or removed.
    """
    there = history.exists() and os.path.samestat(history.stat(), os.fstat(open_history))
    if not there or not model_dir.is_dir():
        gone = next((path for path in (history.parent, model_dir) if not path.is_dir()), history)
        raise TrainingError(
            f"{gone} was moved or removed while training ran. If it was moved, resume where it is now"
        )


def _grid(image_dir: Path, step: int) -> Path:
    return image_dir / f"step_{step:07d}.png"


def _epoch_batches(
    get_batches: Callable[..., Iterable[np.ndarray]], batch_size: int, epoch: int
) -> Iterator[np.ndarray]:
    """The batches of an epoch. The article's `get_batches` takes the batch size alone; ours the epoch too.

    Raises:
        TrainingError: while they are taken, if there is none or one holds no image.
    """
    takes_epoch = "epoch" in inspect.signature(get_batches).parameters
    batches = get_batches(batch_size, epoch=epoch) if takes_epoch else get_batches(batch_size)
    return _with_images(batches, f"epoch {epoch + 1}: get_batches({batch_size}) gave")


def _with_images(batches: Iterable[np.ndarray], said: str) -> Iterator[np.ndarray]:
    found = "no batch"
    for batch in batches:
        found = "" if len(batch) else "a batch of no images"
        if found:
            break
        yield batch
    if found:
        remedy = "Each call must give an epoch's batches anew: an iterator that was used up gives none"
        raise TrainingError(f"{said} {found}. {remedy}")


def _feeds(
    net: TrainingGraph,
    batches: Iterable[np.ndarray],
    first_step: int,
    seed: int,
    z_distribution: str,
    flip: bool,
) -> Iterator[tuple[np.ndarray, dict[tf.Tensor, np.ndarray]]]:
    """Each batch, and what a session is fed for the step on it but for the learning rates."""
    for step, batch in enumerate(batches, first_step):
        # A step's random numbers depend on nothing that came before: it can be taken again.
        random = np.random.default_rng((seed, STEP_STREAM, step))
        z = random_latents(len(batch), net.input_z.shape[1], random, z_distribution)
        if flip:
            mirrored = random.random((len(batch), 1, 1, 1)) < 0.5
            batch = np.where(mirrored, batch[:, :, ::-1], batch)
        yield batch, {net.pixels if batch.dtype == np.uint8 else net.input_real: batch, net.input_z: z}


@contextmanager
def _finish_step_first() -> Iterator[list[int]]:
    """Collect the signals in `STOPS`, for the training loop to look at between two steps.

    At the end they take effect: KeyboardInterrupt, or for the others an exit with the status that a shell
    gives them. A second Ctrl-C interrupts at once. What the program was started to ignore stays ignored, as
    are Ctrl-C in a shell's background job and SIGHUP under ``nohup``. Python delivers signals to the main
    thread alone: in another there is nothing to do.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    # None is a handler that was not set by Python, and could not be set again.
    heeded = [number for number in STOPS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, receive) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
