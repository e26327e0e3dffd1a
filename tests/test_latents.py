"""The same seed must give the same latents, of the law that was asked for; walks between them are even."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catdcgan import InputError
from catdcgan.latents import (
    interpolate,
    random_latents,
    read_latents,
    round_walk,
    save_latents,
    shift_latents,
)


@pytest.mark.tutorial_bug(26)
def test_same_seed_gives_the_same_latents_and_another_seed_others() -> None:
    assert np.array_equal(random_latents(5, 100, seed=3), random_latents(5, 100, seed=3))
    assert not np.array_equal(random_latents(5, 100, seed=3), random_latents(5, 100, seed=4))


def test_latents_are_uniform_from_minus_one_to_one() -> None:
    z = random_latents(500, 100)
    assert z.shape == (500, 100)
    assert z.dtype == np.float32
    assert -1 <= z.min() < -0.99
    assert 0.99 < z.max() <= 1
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1 / np.sqrt(3), abs=0.01)


def test_more_latents_of_a_seed_begin_with_the_fewer() -> None:
    assert np.array_equal(random_latents(64, 100)[:9], random_latents(9, 100))


@pytest.mark.parametrize("count", [2, 3, 10])
def test_walk_between_two_latents_is_even_and_includes_both_ends(count: int) -> None:
    start, end = random_latents(2, 100)
    walk = interpolate(start, end, count)
    assert walk.shape == (count, 100)
    assert walk.dtype == np.float32
    assert np.array_equal(walk[0], start)
    assert np.array_equal(walk[-1], end)
    assert np.allclose(np.diff(walk, axis=0), (end - start) / (count - 1), atol=1e-6)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_truncated_latents_are_nearer_to_zero_and_those_of_the_same_cats(distribution: str) -> None:
    whole = random_latents(50, 100, 3, distribution)
    outer = whole
    for bound in (1, 0.5, 0.1):
        inner = random_latents(50, 100, 3, distribution, truncate=bound)
        assert inner.dtype == np.float32
        assert np.abs(inner).max() <= np.float32(bound)
        assert np.abs(inner).max() > 0.99 * bound
        assert np.array_equal(np.argsort(inner, axis=None), np.argsort(whole, axis=None))
        assert (np.abs(inner) <= np.abs(outer)).all()
        assert np.array_equal(random_latents(9, 100, 3, distribution, bound), inner[:9])
        outer = inner
    loose = random_latents(50, 100, 3, distribution, truncate=1 if distribution == "uniform" else 30)
    assert np.allclose(loose, whole, atol=1e-6)


@pytest.mark.parametrize("bound", [0.3, 1, 2.5])
def test_truncated_normal_latents_are_distributed_as_if_the_outer_were_drawn_again(bound: float) -> None:
    drawn = random_latents(2000, 100, 1, "normal")
    kept = np.sort(drawn[np.abs(drawn) <= bound])
    squeezed = np.sort(random_latents(2000, 100, 2, "normal", truncate=bound), axis=None)
    shares = np.linspace(0, 1, 21)
    assert np.allclose(np.quantile(kept, shares), np.quantile(squeezed, shares), atol=0.02 * bound)


@pytest.mark.parametrize(
    ("distribution", "bound"),
    [("uniform", 0), ("uniform", -0.5), ("uniform", 1.01), ("normal", 0), ("normal", float("nan"))],
)
def test_bound_that_truncates_no_latents_is_refused(distribution: str, bound: float) -> None:
    with pytest.raises(ValueError, match=rf"{distribution} latents are truncated above 0.* not {bound}"):
        random_latents(2, 8, 0, distribution, bound)


@pytest.mark.parametrize(("stops", "count"), [(2, 1), (2, 5), (3, 4)])
def test_walk_visits_each_latent_in_turn_at_an_even_pace_and_ends_before_it_began(
    stops: int, count: int
) -> None:
    z = random_latents(stops, 100)
    walk = round_walk(z, count)
    assert walk.shape == (stops * count, 100)
    assert walk.dtype == np.float32
    assert np.array_equal(walk[::count], z)
    closed = np.concatenate([walk, walk[:1]])
    for stop, end in enumerate([*z[1:], z[0]]):
        steps = np.diff(closed[stop * count : (stop + 1) * count + 1], axis=0)
        assert np.allclose(steps, (end - z[stop]) / count, atol=1e-6)


def test_latents_are_uniform_or_normal_and_no_other_law_is_known() -> None:
    normal = random_latents(400, 100, seed=1, distribution="normal")
    assert normal.dtype == np.float32
    assert np.array_equal(normal, random_latents(400, 100, seed=1, distribution="normal"))
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert np.abs(normal).max() > 3
    with pytest.raises(ValueError, match='latents are "uniform" or "normal", not "cauchy"'):
        random_latents(1, 2, distribution="cauchy")


def test_latents_from_a_generator_go_on_where_it_stands() -> None:
    generator = np.random.default_rng(3)
    first, second = random_latents(2, 5, generator), random_latents(2, 5, generator)
    assert np.array_equal(first, random_latents(2, 5, seed=3))
    assert not np.array_equal(first, second)


def test_shift_clips_only_the_sum_and_only_that_of_uniform_latents() -> None:
    z = random_latents(5, 100)
    step = np.linspace(-1.5, 1.5, 100, dtype=np.float32)
    moved = shift_latents(z, step)
    assert moved.dtype == np.float32
    assert np.array_equal(moved, np.clip(z + step, -1, 1))
    assert np.array_equal(shift_latents(z, step, "normal"), z + step)
    assert np.array_equal(shift_latents(z, np.zeros((5, 100))), z)


def test_latents_are_read_as_they_were_saved_and_any_numbers_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "new" / "z.npy"
    z = random_latents(3, 8, distribution="normal")
    save_latents(z, file)
    assert np.array_equal(read_latents(file, 8), z)
    assert np.load(file).dtype == np.float32
    for other in (z.astype(np.float64), np.asfortranarray(z), np.arange(24).reshape(3, 8)):
        np.save(file, other)
        stored = read_latents(file)
        assert stored.dtype == np.float32
        assert np.array_equal(stored, other.astype(np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(8), "holds float64 (8,): expected latents (n, 8)"),
        (np.zeros((2, 7)), "holds float64 (2, 7): expected latents (n, 8)"),
        (np.zeros((0, 8)), "holds float64 (0, 8): expected latents (n, 8)"),
        (np.zeros((2, 8), complex), "holds complex128 (2, 8)"),
        (np.full((2, 8), "x"), "holds <U1 (2, 8)"),
        (np.full((2, 8), np.nan), "holds numbers that are not finite"),
        (np.full((2, 8), 1e300), "holds numbers that are not finite in float32"),
        (np.array([[{}] * 8], object), "cannot be read"),
        (b"", "cannot be read"),
        (b"no latents", "cannot be read"),
        ((10**12, 8), "cannot be read"),
        ((10**30, 8), "cannot be read"),
    ],
    ids=str,
)
def test_file_without_such_latents_is_one_error(
    content: np.ndarray | bytes | tuple[int, int], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "z.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(file, content)
    else:  # a header that claims more than is there
        with file.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": content}
            np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(InputError) as refused:
        read_latents(file, 8)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)
