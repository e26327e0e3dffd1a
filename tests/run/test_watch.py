"""A discriminator that has won and a generator that has collapsed are told of once, with the remedy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from catdcgan.data.dataset import scale_pixels
from catdcgan.run.watch import Watch


def heard(watch: Watch, losses: list[float]) -> list[str]:
    """What is said of these losses."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, loss in enumerate(losses, start=1):
            watch.check_losses(step, loss)
    return [str(warning.message) for warning in caught]


def seen(watch: Watch, step: int, drawn: np.ndarray, real: np.ndarray) -> list[str]:
    """What is said of these pictures."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch.check_images(step, drawn, real)
    return [str(warning.message) for warning in caught]


# A discriminator that has won

# The least loss is the entropy of the labels, in nats: of 0.9 and 0.1, of 1 alone, of a coin.
FLOORS = [(0.1, 0.32508), (0.0, 0.0), (0.5, math.log(2))]


@pytest.mark.parametrize(("smooth", "floor"), FLOORS)
def test_a_loss_near_its_floor_for_500_steps_is_warned_of_with_the_remedy(
    smooth: float, floor: float
) -> None:
    said = heard(Watch(smooth), [floor + 0.04] * 500)
    assert len(said) == 1
    assert said[0].startswith("step 500: the discriminator has won. ")
    assert f"over the last 500 steps is {floor + 0.04:.3f}, where {floor:.3f} is the least" in said[0]
    assert "Lower the discriminator's learning rate" in said[0]
    assert "earlier checkpoint" in said[0]


@pytest.mark.parametrize(("smooth", "floor"), FLOORS)
def test_a_loss_that_is_not_near_its_floor_is_no_trouble(smooth: float, floor: float) -> None:
    assert heard(Watch(smooth), [floor + 0.06] * 2000) == []


def test_499_steps_are_too_few_to_judge_by() -> None:
    assert heard(Watch(0.1), [0.326] * 499) == []


def test_one_loss_that_is_high_enough_holds_the_warning_back_while_it_is_among_the_last_500() -> None:
    said = heard(Watch(0.0), [0.0] * 100 + [30.0] + [0.0] * 500)
    assert [text.split(":")[0] for text in said] == ["step 601"]


def test_the_warning_comes_once_however_the_loss_goes_on() -> None:
    falling = list(np.linspace(0.36, 0.326, 3000))
    assert len(heard(Watch(0.1), [*falling, *[2.0] * 600, *falling])) == 1


# A generator that has collapsed


@pytest.fixture(scope="module")
def alike() -> np.ndarray:
    """Pictures that differ by a few gray levels alone."""
    return np.random.default_rng(0).integers(100, 104, (25, 32, 32, 3)).astype(np.uint8)


def test_pictures_that_are_nearly_the_same_are_warned_of_once_with_the_remedy(
    alike: np.ndarray, cats: np.ndarray
) -> None:
    watch, real = Watch(0.1), scale_pixels(cats[:16])
    said = seen(watch, 1000, alike, real)
    assert len(said) == 1
    assert said[0].startswith("step 1000: the generator has collapsed. ")
    varied = (alike.astype(float) / 127.5).std(0).mean(), real.std(0).mean()
    assert f"vary by {varied[0]:.4f}, real images by {varied[1]:.4f}" in said[0]
    assert "earlier checkpoint" in said[0]
    assert "lower the learning rates" in said[0]
    assert seen(watch, 1010, alike // 2, real) == []


def test_a_young_generators_pictures_may_be_alike(alike: np.ndarray, cats: np.ndarray) -> None:
    assert seen(Watch(0.1), 999, alike, scale_pixels(cats[:16])) == []


def test_varied_pictures_are_no_trouble(cats: np.ndarray) -> None:
    real = scale_pixels(cats[:16])
    assert seen(Watch(0.1), 5000, cats[:25], real) == []
    # A fifth of the variety is poor, and no collapse; a twentieth is one. It is the pictures that must
    # differ: what is in each of them does not count.
    mean = cats[:25].mean(0)
    for share, warned in ((0.2, 0), (0.05, 1)):
        drawn = np.rint(mean + share * (cats[:25] - mean)).astype(np.uint8)
        assert len(seen(Watch(0.1), 5000, drawn, real)) == warned


def test_one_real_image_shows_no_variety_to_compare_with(alike: np.ndarray, cats: np.ndarray) -> None:
    assert seen(Watch(0.1), 5000, alike, scale_pixels(cats[:1])) == []


def test_both_troubles_are_told_of(alike: np.ndarray, cats: np.ndarray) -> None:
    watch = Watch(0.1)
    assert len(heard(watch, [0.33] * 1000)) == 1
    assert len(seen(watch, 1000, alike, scale_pixels(cats[:16]))) == 1


def test_real_images_as_pixels_are_compared_like_their_floats() -> None:
    real = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    drawn = np.full_like(real, 7)
    said = [seen(Watch(0.1), 1000, drawn, images) for images in (real, scale_pixels(real))]
    assert len(said[0]) == 1
    assert said[0] == said[1]
    assert not seen(Watch(0.1), 1000, real, real)
