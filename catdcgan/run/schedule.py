"""The arithmetic of a run: its position, its end, and the resulting learning rates and checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

from catdcgan.settings import Settings


@dataclass
class Position:
    """How far a run has got. Every checkpoint holds these three numbers."""

    step: int = 0  # steps done
    epoch: int = 0  # epochs done
    epoch_step: int = 0  # steps done in the current epoch


class Schedule:
    """The end of a run that continues from a position, and what is due until then.

    Attributes:
        last_step: the step at which the run ends, by its limit of epochs or of steps.
        images_done: images seen so far.
        images_end: images seen at the end.
    """

    def __init__(self, settings: Settings, image_count: int, start: Position) -> None:
        """Compute it from the settings, the number of images in an epoch, and where training starts."""
        self._settings = settings
        self._image_count = image_count
        self._epoch_limit = math.inf if settings.epoch_count is None else settings.epoch_count
        self._step_limit = math.inf if settings.step_count is None else settings.step_count
        epoch_steps = steps_per_epoch(image_count, settings.batch_size)
        # Counted in epochs, not by `start.step`, which is off if the run once had another batch size.
        done = start.epoch * epoch_steps + start.epoch_step
        end = int(min(self._epoch_limit * epoch_steps, done + max(0, self._step_limit - start.step)))
        self.last_step = start.step + end - done
        self.images_done = images_in(done, image_count, settings.batch_size)
        self.images_end = images_in(end, image_count, settings.batch_size)

    def is_over(self, at: Position) -> bool:
        """Whether a run at this position has done all its epochs or steps."""
        return at.epoch >= self._epoch_limit or at.step >= self._step_limit

    def place(self, at: Position) -> str:
        """Say how far a run in the middle of an epoch is, counted in what limits it: steps or epochs."""
        if self.last_step == self._step_limit:
            return f"step {at.step}/{self.last_step}"
        return f"epoch {at.epoch + 1}/{self._epoch_limit}, step {at.step}"

    def learning_rate_factor(self, step: int) -> float:
        """The factor on both learning rates in the step that follows `step` steps.

        It is 1, and falls linearly to 0 over the last `decay_part` of the run.
        """
        decay = self._settings.decay_part
        return min(1, (self.last_step - step) / (decay * self.last_step)) if decay else 1

    def generator_waits(self, step: int) -> bool:
        """Whether the discriminator learns alone in the step that follows `step` steps."""
        return step < self._settings.generator_waits

    def saves_after_epoch(self, epochs: int) -> bool:
        """Whether a checkpoint is due after `epochs` epochs. The end of the run saves anyway."""
        every = self._settings.save_every_epochs
        return bool(every) and epochs % every == 0 and epochs < self._epoch_limit

    def images_to_save(self, at: Position) -> float:
        """Number of images until the next checkpoint that is due by epochs; infinite if none is."""
        every = self._settings.save_every_epochs
        if not every:
            return math.inf
        return (every - at.epoch % every) * self._image_count - at.epoch_step * self._settings.batch_size


def steps_per_epoch(image_count: int, batch_size: int) -> int:
    """Number of batches in an epoch, the last, smaller one included."""
    return math.ceil(image_count / batch_size)


def images_in(steps: int, image_count: int, batch_size: int) -> int:
    """Number of images seen in `steps` steps; the last batch of an epoch holds the remaining images."""
    epochs, rest = divmod(steps, steps_per_epoch(image_count, batch_size))
    return epochs * image_count + min(rest * batch_size, image_count)
