"""Training: the article's `train`, which builds the graph from the article's functions and runs it."""

from __future__ import annotations

import inspect
import json
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from catdcgan import checkpoint
from catdcgan.history import HISTORY_NAME, read_losses, rewind_history
from catdcgan.model import model_inputs, model_loss, model_optimizers
from catdcgan.sample import sampling_output, show_generator_output
from catdcgan.tf1 import tf

SAMPLE_COUNT = 25  # pictures in a sample grid
STEP_STREAM = 1  # keeps the random numbers of the steps apart from those of the data's order


def train(
    epoch_count: int,
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
) -> tuple[list[tuple[float, float]], list[Path]]:
    """Train both networks: for each batch a discriminator step, then a generator step on the same latents.

    Makes ``model_dir/model.ckpt`` (the generator), ``model_dir/model.ckpt-STEP`` (all that resuming needs),
    ``model_dir/history.jsonl`` (the losses) and ``image_dir/step_STEP.png`` (grids of the same latents
    throughout the run, from step 0 on). Ctrl-C finishes the step and saves before it interrupts.
    The same seed gives the same bits on the same kind of CPU.

    Args:
        epoch_count: passes over the data in all, those before a resume included.
        batch_size: images in a step.
        z_dim: length of a latent; latents are uniform in [-1, 1].
        learning_rate_D: the discriminator's learning rate.
        learning_rate_G: the generator's learning rate.
        beta1: Adam's decay of the first moment.
        get_batches: ``get_batches(batch_size)`` gives the float32 batches (n, s, s, c) in [-1, 1] of one
            epoch. If it takes an ``epoch`` too, as `Dataset.get_batches` does, it gets the epoch's number
            (from 0), so that a resumed run sees the batches that it would have seen.
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
        save_every_epochs: epochs between checkpoints; 0 for none but the one at the end.
        sample_every_steps: steps between sample grids; 0 for none.
        show_every_epochs: epochs between grids shown on the screen; 0 for none.
        keep_checkpoints: how many of the numbered checkpoints stay; the oldest go.
        flip: mirror each real image, left to right, with probability 1/2.
        average_decay: above 0, such as 0.999, pictures and ``model.ckpt`` come from an exponential moving
            average of the generator (Yazici et al. 2018, arXiv:1806.04498), which is steadier than the
            generator itself.

    Returns:
        ``(losses, samples)``: (d_loss, g_loss) of every step of the run, and the files of its sample grids.

    Raises:
        CheckpointError: `model_dir` holds a run though `resume` is False, or none though it is True, or the
            run's checkpoint does not fit or cannot be read.
        ValueError: the images are not square, or their side is not a multiple of 16 from 32 up.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    model_dir, image_dir = Path(model_dir), Path(image_dir)
    image_count, height, width, channels = data_shape
    if height != width:
        raise ValueError(f"training needs square images, not {height} x {width}")
    start = checkpoint.find_start(model_dir, resume)

    with tf.Graph().as_default() as graph:
        tf.set_random_seed(seed)
        input_real, input_z, lr_G, lr_D = model_inputs((height, width, channels), z_dim)
        d_loss, g_loss = model_loss(input_real, input_z, channels, alpha, smooth, base_filters)
        generator_variables = tf.global_variables("generator")
        d_train_opt, g_train_opt = model_optimizers(d_loss, g_loss, lr_D, lr_G, beta1)

        g_train_opt, counters = _count_steps(g_train_opt)
        drawn_with = {variable.op.name: variable for variable in generator_variables}
        if average_decay:
            averages = tf.train.ExponentialMovingAverage(average_decay, num_updates=counters[0])
            with tf.control_dependencies([g_train_opt]):
                g_train_opt = averages.apply(generator_variables)
            drawn_with = {name: averages.average(variable) for name, variable in drawn_with.items()}
        with tf.variable_scope(
            tf.get_variable_scope(), custom_getter=lambda getter, name, **_: drawn_with[name]
        ):
            sampling_output(input_z, channels, alpha)
        training_saver = tf.train.Saver(tf.global_variables())
        generator_saver = tf.train.Saver(drawn_with)

        with tf.Session() as sess, _finish_step_first() as interrupts:
            sess.run(tf.global_variables_initializer())
            if start:
                # A checkpoint without our counters or averages starts at step 0, averaging from its weights.
                substitutes = {counter.op.name: None for counter in counters}
                substitutes |= {average.op.name: name for name, average in drawn_with.items()}
                checkpoint.restore(sess, start, tf.global_variables(), substitutes)
            graph.finalize()  # from here on, an op added by mistake is an error and no leak

            step, epoch, epoch_step = (int(count) for count in sess.run(counters))
            history = model_dir / HISTORY_NAME
            rewind_history(history, step)
            losses = read_losses(history)
            grids = sorted(image_dir.glob("step_*.png")) if start else []
            samples = [file for file in grids if file <= _grid(image_dir, step)]
            step_limit = math.inf if step_count is None else step_count

            def save() -> None:
                checkpoint.set_variables(sess, zip(counters, (step, epoch, epoch_step), strict=True))
                checkpoint.save(sess, training_saver, model_dir / f"{checkpoint.NAME}-{step}")
                checkpoint.save(sess, generator_saver, model_dir / checkpoint.NAME)
                checkpoint.remove_old(model_dir, keep_checkpoints)

            def draw(save: bool, show: bool) -> Path:
                file = _grid(image_dir, step)
                show_generator_output(
                    sess, SAMPLE_COUNT, input_z, channels, data_image_mode, file, save, show, seed=seed
                )
                return file

            if sample_every_steps and not samples:
                samples.append(draw(save=True, show=False))
            images_seen = epoch * image_count + epoch_step * batch_size
            images_left = min(epoch_count * image_count - images_seen, (step_limit - step) * batch_size)
            bar = tqdm(total=images_seen + images_left, initial=images_seen, unit=" images", smoothing=0.05)
            with history.open("a", buffering=1) as records, bar:  # buffering=1: a line is written once whole
                while epoch < epoch_count and step < step_limit and not interrupts:
                    bar.set_description(f"epoch {epoch + 1}/{epoch_count}")
                    for batch in islice(_epoch_batches(get_batches, batch_size, epoch), epoch_step, None):
                        random = np.random.default_rng((seed, STEP_STREAM, step))
                        z = random.uniform(-1, 1, (len(batch), z_dim))
                        if flip:
                            mirrored = random.random((len(batch), 1, 1, 1)) < 0.5
                            batch = np.where(mirrored, batch[:, :, ::-1], batch)
                        feed = {input_real: batch, input_z: z, lr_D: learning_rate_D, lr_G: learning_rate_G}
                        d_value = float(sess.run([d_loss, d_train_opt], feed)[0])
                        g_value = float(sess.run([g_loss, g_train_opt], feed)[0])
                        step, epoch_step = step + 1, epoch_step + 1

                        losses.append((d_value, g_value))
                        record = {"step": step, "epoch": epoch + 1, "d_loss": d_value, "g_loss": g_value}
                        records.write(json.dumps(record) + "\n")
                        bar.set_postfix(step=step, D=f"{d_value:.3f}", G=f"{g_value:.3f}", refresh=False)
                        bar.update(len(batch))
                        if sample_every_steps and step % sample_every_steps == 0:
                            samples.append(draw(save=True, show=False))
                        if interrupts or step >= step_limit:
                            break
                    else:  # the epoch ran to its end
                        epoch, epoch_step = epoch + 1, 0
                        if save_every_epochs and epoch % save_every_epochs == 0 and epoch < epoch_count:
                            save()
                        if show_every_epochs and epoch % show_every_epochs == 0:
                            draw(save=False, show=True)
            save()
            if interrupts:
                print(f"Interrupted after step {step}. Saved in {model_dir}: resuming goes on from there.")
    return losses, samples


def _count_steps(g_train_opt: tf.Operation) -> tuple[tf.Operation, list[tf.Variable]]:
    """Make the generator's step count itself, and variables that keep in a checkpoint how far training is.

    Returns:
        The step, and int64 scalars: steps done, epochs done, steps done in the epoch that runs. The last two
        are set when a checkpoint is saved.
    """
    counters = [
        tf.get_variable(name, (), tf.int64, tf.zeros_initializer(), trainable=False)
        for name in ("global_step", "epoch", "epoch_step")
    ]
    with tf.control_dependencies([g_train_opt]):
        return tf.assign_add(counters[0], 1), counters


def _grid(image_dir: Path, step: int) -> Path:
    return image_dir / f"step_{step:07d}.png"


def _epoch_batches(
    get_batches: Callable[..., Iterable[np.ndarray]], batch_size: int, epoch: int
) -> Iterable[np.ndarray]:
    """The batches of an epoch. The article's `get_batches` takes the batch size alone; ours the epoch too."""
    if "epoch" in inspect.signature(get_batches).parameters:
        return get_batches(batch_size, epoch=epoch)
    return get_batches(batch_size)


@contextmanager
def _finish_step_first() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in the list it gives, for the training loop to look at between two steps.

    At the end they take effect: KeyboardInterrupt, or for SIGTERM an exit with the status that a shell gives
    it. A second Ctrl-C interrupts at once. Python delivers signals to the main thread alone: in another there
    is nothing to do.
    """
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
