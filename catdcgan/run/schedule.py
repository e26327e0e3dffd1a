"""The arithmetic of a run: where it is, where it ends, and what that means for learning rates and saving."""

from __future__ import annotations

import math
from dataclasses import dataclass

from catdcgan.settings import Settings


@dataclass
class Position:
    """How far a run is. Every checkpoint holds these three numbers."""

    step: int = 0  # steps done
    epoch: int = 0  # epochs done
    epoch_step: int = 0  # steps done in the current epoch


class Schedule:
    """Where a run ends that goes on from a position.

    Attributes:
        last_step: the step at which the run ends, by its epochs or its steps.
        images_done: images seen so far.
        images_end: images seen at the end.
    """

    def __init__(self, settings: Settings, image_count: int, start: Position) -> None:
        """Reckon from the settings, the number of images in an epoch, and where training goes on."""
        self._settings = settings
        self._image_count = image_count
        self._epoch_limit = math.inf if settings.epoch_count is None else settings.epoch_count
        self._step_limit = math.inf if settings.step_count is None else settings.step_count
        epoch_steps = steps_per_epoch(image_count, settings.batch_size)
        # Counted in epochs: a run whose batch size was once another has seen another number of steps.
        done = start.epoch * epoch_steps + start.epoch_step
        end = int(min(self._epoch_limit * epoch_steps, done + max(0, self._step_limit - start.step)))
        self.last_step = start.step + end - done
        self.images_done = images_in(done, image_count, settings.batch_size)
        self.images_end = images_in(end, image_count, settings.batch_size)

    def is_over(self, at: Position) -> bool:
        """Whether a run that is here has taken all its epochs or steps."""
        return at.epoch >= self._epoch_limit or at.step >= self._step_limit

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by in the step that follows `step` steps.

        1, until over the last `decay_part` of the run it falls to 0 in a straight line.
        """
        decay = self._settings.decay_part
        return min(1, (self.last_step - step) / (decay * self.last_step)) if decay else 1

    def saves_after_epoch(self, epochs: int) -> bool:
        """Whether a checkpoint is due after so many epochs. The end of the run saves anyway."""
        every = self._settings.save_every_epochs
        return bool(every) and epochs % every == 0 and epochs < self._epoch_limit

    def images_to_save(self, at: Position) -> float:
        """Images until the next checkpoint that the epochs make due; infinite if they make none due."""
        every = self._settings.save_every_epochs
        if not every:
            return math.inf
        return (every - at.epoch % every) * self._image_count - at.epoch_step * self._settings.batch_size


def steps_per_epoch(image_count: int, batch_size: int) -> int:
    """Batches in an epoch, the last and smaller one included."""
    return math.ceil(image_count / batch_size)


def images_in(steps: int, image_count: int, batch_size: int) -> int:
    """Number of images seen in `steps` steps; the last batch of an epoch holds what is left."""
    epochs, rest = divmod(steps, steps_per_epoch(image_count, batch_size))
    return epochs * image_count + min(rest * batch_size, image_count)
