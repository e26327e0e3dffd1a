"""Where a run ends, what its learning rates are, and when it saves: arithmetic, without TensorFlow."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import pytest

from catdcgan.run.schedule import Position, Schedule, images_in, steps_per_epoch
from catdcgan.settings import Settings

IMAGES = 10  # in batches of 4, so that an epoch has steps of 4, 4 and 2 images


def schedule(start: Position | None = None, **changes: Any) -> Schedule:
    return Schedule(Settings(**{"batch_size": 4} | changes), IMAGES, start or Position())


@pytest.mark.parametrize(("image_count", "batch_size"), [(10, 4), (8, 4), (3, 4), (1, 1), (5, 1)])
def test_the_last_batch_of_an_epoch_counts_for_what_is_left_and_no_more(
    image_count: int, batch_size: int
) -> None:
    epoch = [min(batch_size, image_count - first) for first in range(0, image_count, batch_size)]
    assert steps_per_epoch(image_count, batch_size) == len(epoch)
    seen = [images_in(steps, image_count, batch_size) for steps in range(3 * len(epoch) + 1)]
    assert seen == [0, *accumulate(3 * epoch)]


@pytest.mark.parametrize(
    ("epochs", "steps", "last_step", "images_end"),
    [(2, None, 6, 20), (2, 5, 5, 18), (2, 9, 6, 20), (2, 6, 6, 20), (None, 7, 7, 24)],
)
@pytest.mark.parametrize("start", [Position(), Position(3, 1, 0), Position(4, 1, 1)])
def test_a_run_ends_by_its_epochs_or_steps_whichever_come_first_wherever_it_goes_on(
    start: Position, epochs: int | None, steps: int | None, last_step: int, images_end: int
) -> None:
    run = schedule(start, epoch_count=epochs, step_count=steps)
    assert (run.last_step, run.images_end) == (last_step, images_end)
    assert run.images_done == images_in(start.step, IMAGES, 4)
    over = [step for step in range(start.step, 9) if run.is_over(Position(step, *divmod(step, 3)))]
    assert over[0] == last_step


def test_a_run_that_is_over_has_no_image_left() -> None:
    run = schedule(Position(6, 2, 0), epoch_count=2, step_count=4)
    assert run.is_over(Position(6, 2, 0))
    assert (run.last_step, run.images_done, run.images_end) == (6, 20, 20)


def test_what_is_left_is_counted_in_epochs_where_steps_were_once_of_another_size() -> None:
    run = schedule(Position(100, 1, 0), epoch_count=2)
    assert (run.last_step, run.images_done, run.images_end) == (103, 10, 20)


@pytest.mark.parametrize(
    ("epochs", "steps", "place"),
    [
        (2, None, "epoch 2/2, step 4"),
        (2, 9, "epoch 2/2, step 4"),
        (2, 5, "step 4/5"),
        (None, 70, "step 4/70"),
    ],
)
def test_progress_is_counted_in_what_ends_the_run(epochs: int | None, steps: int | None, place: str) -> None:
    at = Position(4, 1, 1)
    assert schedule(at, epoch_count=epochs, step_count=steps).place(at) == place


def test_learning_rates_fall_to_0_over_the_last_part_of_the_run_alone() -> None:
    run = schedule(epoch_count=None, step_count=10, decay_part=0.3)
    factors = [run.learning_rate_factor(step) for step in range(11)]
    assert factors == pytest.approx([1] * 8 + [2 / 3, 1 / 3, 0])
    assert max(factors) == 1
    constant = schedule(epoch_count=None, step_count=10, decay_part=0.0)
    assert {constant.learning_rate_factor(step) for step in range(11)} == {1}


def test_a_resumed_run_has_the_learning_rates_that_it_would_have_had() -> None:
    whole, resumed = (schedule(at, epoch_count=3, decay_part=0.5) for at in (Position(), Position(4, 1, 1)))
    assert all(whole.learning_rate_factor(n) == resumed.learning_rate_factor(n) for n in range(4, 10))


def test_images_to_save_are_those_up_to_the_end_of_the_epoch_that_saves() -> None:
    run = schedule(save_every_epochs=2)
    places = [Position(step, *divmod(step, 3)) for step in range(7)]
    assert [run.images_to_save(at) for at in places] == [20, 16, 12, 10, 6, 2, 20]
    assert schedule(save_every_epochs=0).images_to_save(Position()) == math.inf


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3]), (2, [2]), (3, [3]), (0, [])])
def test_an_epoch_that_ends_the_run_is_not_saved_twice(every: int, expected: list[int]) -> None:
    run = schedule(epoch_count=4, save_every_epochs=every)
    assert [epochs for epochs in range(1, 5) if run.saves_after_epoch(epochs)] == expected
