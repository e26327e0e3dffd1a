"""DiffAugment: what each policy does to images, how often, and that gradients flow back through it.

What was drawn at random is read off the images, then checked with NumPy.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from catdcgan.diff_augment import RISE, WINDOW, augment_images, follow_overfitting
from catdcgan.settings import AUGMENT_POLICIES
from catdcgan.tf1 import tf

SEED = (3, 14)


def augment(
    images: np.ndarray,
    *policy: str,
    seed: Sequence[int] = SEED,
    upstream: np.ndarray | None = None,
    probability: float | None = None,
) -> np.ndarray:
    """Run `augment_images` in a finished graph, or with `upstream` its gradient to the images."""
    with tf.Graph().as_default() as graph:
        inputs = tf.placeholder(tf.float32, (None, *images.shape[1:]))
        seeds = tf.placeholder(tf.int32, (2,))
        outputs = augment_images(inputs, policy, seeds, None, probability)
        if upstream is not None:
            (outputs,) = tf.gradients(outputs, inputs, upstream)
            assert outputs is not None
        graph.finalize()
        with tf.Session() as sess:
            return np.asarray(sess.run(outputs, {inputs: images, seeds: seed}))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Random images in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def move(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move an image (s, s, c) by less than its side; zeros come in."""
    side = len(image)
    moved = np.zeros_like(image)
    moved[max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)] = image[
        max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)
    ]
    return moved


def moves_of(images: np.ndarray, moved: np.ndarray, limit: int) -> list[tuple[int, int]]:
    """Find the one move (down, right) within the limit that makes each image what it has become."""
    reach = range(-limit, limit + 1)
    found = []
    for image, result in zip(images, moved, strict=True):
        (fitting,) = [(d, r) for d in reach for r in reach if np.array_equal(move(image, d, r), result)]
        found.append(fitting)
    return found


def colors_of(images: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Read (brightness, saturation, contrast) of each image, (n, 3), off what its colours have become."""

    def spread(values: np.ndarray, around: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
        return np.asarray(((values - around) ** 2).mean(axis) ** 0.5)

    (gray, mean), (new_gray, new_mean) = (
        (batch.mean(3, keepdims=True), batch.mean((1, 2, 3), keepdims=True)) for batch in (images, changed)
    )
    contrast = spread(new_gray, new_mean, (1, 2, 3)) / spread(gray, mean, (1, 2, 3))
    both = spread(changed, new_gray, (1, 2, 3)) / spread(images, gray, (1, 2, 3))
    return np.stack([(new_mean - mean).ravel(), both / contrast, contrast], 1)


def hole_of(blank: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of the one rectangle that is True."""
    rows, columns = (np.flatnonzero(blank.any(axis)) for axis in (1, 0))
    hole = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    assert blank[hole].all()
    assert blank.sum() == blank[hole].size
    return hole


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """A thousand small images."""
    return noise(1000, 16, 16, 3)


@pytest.fixture(scope="module")
def drawn_colors(many: np.ndarray) -> np.ndarray:
    """Brightness, saturation and contrast of a thousand images."""
    return colors_of(many, augment(many, "color"))


@pytest.fixture(scope="module")
def drawn_moves(many: np.ndarray) -> np.ndarray:
    """Down and right of a thousand images."""
    return np.array(moves_of(many, augment(many, "translation"), 2))


@pytest.fixture(scope="module")
def drawn_holes(many: np.ndarray) -> np.ndarray:
    """First row, end of the rows, first column, end of the columns that are blank in a thousand images."""
    blanks = (augment(many, "cutout") == 0).all(3)
    return np.array([[r.start, r.stop, c.start, c.stop] for r, c in map(hole_of, blanks)])


@pytest.mark.parametrize("name", AUGMENT_POLICIES)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(name: str) -> None:
    images = noise(8, 32, 32, 3)
    first = augment(images, name)
    np.testing.assert_array_equal(first, augment(images, name))
    for other in ((SEED[0], SEED[1] + 1), (SEED[0] + 1, SEED[1])):
        assert not np.array_equal(first, augment(images, name, seed=other))


@pytest.mark.parametrize("name", AUGMENT_POLICIES)
def test_each_image_of_a_batch_changes_in_its_own_way(name: str) -> None:
    outputs = augment(np.repeat(noise(1, 128, 128, 3), 8, axis=0), name)
    assert len(np.unique(outputs, axis=0)) == 8


@pytest.mark.parametrize("side", [9, 32])  # 81 pixels are no multiple of four
def test_color_changes_brightness_then_saturation_then_contrast(side: int) -> None:
    images = noise(8, side, side, 3)
    outputs = augment(images, "color")
    brightness, saturation, contrast = colors_of(images, outputs).T[..., None, None, None]
    expected = images + brightness
    gray = expected.mean(3, keepdims=True)
    expected = gray + saturation * (expected - gray)
    mean = expected.mean((1, 2, 3), keepdims=True)
    expected = mean + contrast * (expected - mean)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_color_moves_a_plain_gray_image_by_its_brightness_alone() -> None:
    images = np.full((8, 16, 16, 3), 0.25, np.float32)
    brightness, *_ = colors_of(noise(8, 16, 16, 3), augment(noise(8, 16, 16, 3), "color")).T
    expected = images + brightness[:, None, None, None]
    np.testing.assert_allclose(augment(images, "color"), expected, atol=1e-5)


def test_color_of_grayscale_images_is_brightness_and_contrast() -> None:
    images = noise(8, 16, 16, 1)
    outputs = augment(images, "color")
    brightness, _, contrast = colors_of(noise(8, 16, 16, 3), augment(noise(8, 16, 16, 3), "color")).T
    mean = images.mean((1, 2, 3), keepdims=True)
    brightness, contrast = brightness[:, None, None, None], contrast[:, None, None, None]
    np.testing.assert_allclose(outputs, mean + contrast * (images - mean) + brightness, atol=1e-5)


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [(0, -0.5, 0.5), (1, 0, 2), (2, 0.5, 1.5)],
    ids=["bright", "saturate", "contrast"],
)
def test_colors_are_drawn_evenly_from_the_papers_ranges(
    drawn_colors: np.ndarray, column: int, low: float, high: float
) -> None:
    values = drawn_colors[:, column]
    assert values.min() >= low - 1e-5
    assert values.max() <= high + 1e-5
    counts, _ = np.histogram(values, 10, (low, high))
    assert counts.min() > 60  # of 100 on average, with a standard deviation of 9.5
    assert counts.max() < 140


def test_translation_moves_each_image_by_whole_pixels_and_fills_with_zeros(drawn_moves: np.ndarray) -> None:
    # `moves_of` has found a move for each of the thousand; here, that all of 5 x 5 occur, and evenly.
    _, counts = np.unique(drawn_moves, axis=0, return_counts=True)
    assert len(counts) == 25
    assert counts.min() > 15  # of 40 on average, with a standard deviation of 6.2
    assert counts.max() < 65


@pytest.mark.parametrize(("side", "limit"), [(32, 4), (31, 3), (7, 0)])
def test_translation_goes_up_to_an_eighth_of_the_side(side: int, limit: int) -> None:
    images = noise(200, side, side, 1)
    moves = moves_of(images, augment(images, "translation"), limit)
    assert np.unique(moves, axis=None).tolist() == list(range(-limit, limit + 1))


def test_cutout_blanks_a_square_of_half_the_side_and_nothing_else(
    many: np.ndarray, drawn_holes: np.ndarray
) -> None:
    for image, result, (top, bottom, left, right) in zip(
        many, augment(many, "cutout"), drawn_holes, strict=True
    ):
        expected = image.copy()
        expected[top:bottom, left:right] = 0
        np.testing.assert_array_equal(result, expected)
        for start, end in ((top, bottom), (left, right)):
            assert end - start == 8 or (4 <= end - start < 8 and (start == 0 or end == 16))


@pytest.mark.parametrize("ends", [slice(0, 2), slice(2, 4)], ids=["rows", "columns"])
def test_the_centre_of_the_cutout_is_anywhere_in_the_image(drawn_holes: np.ndarray, ends: slice) -> None:
    start, end = drawn_holes[:, ends].T
    centre = np.where(start == 0, end - 4, start + 4)  # what sticks out on one side is whole on the other
    places, counts = np.unique(centre, return_counts=True)
    assert places.tolist() == list(range(17))  # corners of pixels
    assert counts.min() > 30  # of 59 on average, with a standard deviation of 7.4
    assert counts.max() < 90


@pytest.mark.parametrize("channels", [3, 1])
def test_a_cutout_of_odd_size_has_a_pixel_of_the_image_at_its_centre(channels: int) -> None:
    blanks = (augment(noise(300, 10, 10, channels), "cutout") == 0).all(3)
    possible = {(max(centre - 2, 0), min(centre + 3, 10)) for centre in range(10)}
    for ends in zip(*map(hole_of, blanks), strict=True):
        assert {(span.start, span.stop) for span in ends} == possible


def test_what_is_drawn_for_one_change_says_nothing_about_another(
    drawn_colors: np.ndarray, drawn_moves: np.ndarray, drawn_holes: np.ndarray
) -> None:
    draws = np.concatenate([drawn_colors, drawn_moves, drawn_holes[:, [0, 2]]], axis=1)
    correlations = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    assert abs(correlations).max() < 0.13  # four standard deviations of chance


def test_the_place_of_the_cutout_is_not_drawn_from_the_numbers_of_the_move() -> None:
    # At this side one draws from 9 places and the other from 33. From the same numbers, both would leave the
    # same remainder by 3, whatever the correlation.
    images = noise(200, 32, 32, 1)
    down = np.array(moves_of(images, augment(images, "translation"), 4))[:, 0] + 4
    rows = [hole_of(blank)[0] for blank in (augment(images, "cutout") == 0).all(3)]
    first = np.array([row.stop - 8 if row.start == 0 else row.start + 8 for row in rows])
    assert len(set(zip((down % 3).tolist(), (first % 3).tolist(), strict=True))) == 9


@pytest.mark.parametrize("policy", [AUGMENT_POLICIES, AUGMENT_POLICIES[::-1], (*AUGMENT_POLICIES, "color")])
def test_policies_are_applied_once_each_and_in_the_papers_order(policy: tuple[str, ...]) -> None:
    images = noise(8, 32, 32, 3)
    expected = images
    for name in ("color", "translation", "cutout"):
        expected = augment(expected, name)
    np.testing.assert_array_equal(augment(images, *policy), expected)


def test_the_gradient_of_color_is_that_of_finite_differences() -> None:
    # Color is affine, so that a difference is exact however large.
    images, change, upstream = (noise(4, 16, 16, 3, seed=seed) for seed in range(3))
    gradient = augment(images, "color", upstream=upstream)
    difference = augment(images + change, "color") - augment(images, "color")
    expected = (difference * upstream).sum((1, 2, 3))
    np.testing.assert_allclose((gradient * change).sum((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)


def test_the_gradient_of_translation_is_the_move_back() -> None:
    images, upstream = noise(20, 32, 32, 3), noise(20, 32, 32, 3, seed=1)
    moves = moves_of(images, augment(images, "translation"), 4)
    expected = [move(image, -down, -right) for image, (down, right) in zip(upstream, moves, strict=True)]
    np.testing.assert_array_equal(augment(images, "translation", upstream=upstream), expected)


def test_the_gradient_of_cutout_is_nothing_where_it_is_blank() -> None:
    images, upstream = noise(20, 32, 32, 3), noise(20, 32, 32, 3, seed=1)
    expected = np.where(augment(images, "cutout") == 0, 0, upstream)
    np.testing.assert_array_equal(augment(images, "cutout", upstream=upstream), expected)


def test_the_gradient_of_all_together_is_that_of_finite_differences() -> None:
    images, change, upstream = (noise(8, 32, 32, 3, seed=seed) for seed in range(3))
    gradient = augment(images, *AUGMENT_POLICIES, upstream=upstream)
    difference = augment(images + change, *AUGMENT_POLICIES) - augment(images, *AUGMENT_POLICIES)
    expected = (difference * upstream).sum((1, 2, 3))
    np.testing.assert_allclose((gradient * change).sum((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [3, 1])
def test_one_graph_takes_batches_of_any_size_and_holds_no_variable(channels: int) -> None:
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, (None, 32, 32, channels))
        outputs = augment_images(images, AUGMENT_POLICIES, tf.constant(SEED))
        assert outputs.shape.as_list() == [None, 32, 32, channels]
        assert outputs.dtype == tf.float32
        assert not tf.global_variables()
        graph.finalize()
        with tf.Session() as sess:
            for count in (1, 3):
                batch = noise(count, 32, 32, channels)
                assert sess.run(outputs, {images: batch}).shape == batch.shape


def test_a_known_batch_size_stays_known() -> None:
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, (5, 32, 32, 3))
        assert augment_images(images, AUGMENT_POLICIES, tf.constant(SEED)).shape.as_list() == [5, 32, 32, 3]


def test_no_policy_returns_the_images_themselves_and_adds_nothing_to_the_graph() -> None:
    with tf.Graph().as_default() as graph:
        images, seed = tf.placeholder(tf.float32, (None, 32, 32, 3)), tf.constant(SEED)
        before = graph.get_operations()
        assert augment_images(images, (), seed) is images
        assert graph.get_operations() == before


def test_an_unknown_policy_is_named_beside_those_there_are() -> None:
    with tf.Graph().as_default():
        images = tf.placeholder(tf.float32, (None, 32, 32, 3))
        with pytest.raises(ValueError, match=r"'rotation'.*color, translation, cutout"):
            augment_images(images, ("color", "rotation"), tf.constant(SEED))


@pytest.mark.parametrize("probability", [None, 0.5])
@pytest.mark.parametrize("policy", AUGMENT_POLICIES)
def test_some_images_of_a_batch_are_changed_as_in_the_whole_batch(
    policy: str, probability: float | None
) -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        images = tf.random.stateless_uniform((5, 8, 8, 3), (1, 2))
        whole = augment_images(images, [policy], (3, 4), None, probability)
        part = augment_images(images[1:4], [policy], (3, 4), tf.constant([1, 4, 5]), probability)
        expected, found = sess.run([whole[1:4], part])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


# Adaptive augmentation


def test_a_probability_of_0_changes_nothing_and_one_of_1_all_as_without_a_probability(
    many: np.ndarray,
) -> None:
    np.testing.assert_array_equal(augment(many, *AUGMENT_POLICIES, probability=0), many)
    certain = augment(many, *AUGMENT_POLICIES, probability=1)
    np.testing.assert_array_equal(certain, augment(many, *AUGMENT_POLICIES))


def test_each_policy_changes_its_share_of_the_images_whatever_the_others_do(many: np.ndarray) -> None:
    changed = [(augment(many, name, probability=0.3) != many).any((1, 2, 3)) for name in AUGMENT_POLICIES]
    # A move by (0, 0), one of 25, changes nothing. The error of a share of 1,000 is 0.015.
    shares = [policy.mean() for policy in changed]
    np.testing.assert_allclose(shares, [0.3, 0.3 * 24 / 25, 0.3], atol=0.06)
    both = [(changed[one] & changed[other]).mean() for one, other in ((0, 1), (1, 2), (0, 2))]
    np.testing.assert_allclose(both, 0.09, atol=0.04)
    together = (augment(many, *AUGMENT_POLICIES, probability=0.3) != many).any((1, 2, 3))
    np.testing.assert_array_equal(together, np.any(changed, axis=0))


def test_gradients_flow_through_changed_and_unchanged_images_alike() -> None:
    images, change, upstream = (noise(20, 32, 32, 3, seed=seed) for seed in range(3))
    gradient = augment(images, *AUGMENT_POLICIES, upstream=upstream, probability=0.3)
    before, after = (
        augment(inputs, *AUGMENT_POLICIES, probability=0.3) for inputs in (images, images + change)
    )
    assert 0 < (before == images).all((1, 2, 3)).sum() < 20
    expected = ((after - before) * upstream).sum((1, 2, 3))
    np.testing.assert_allclose((gradient * change).sum((1, 2, 3)), expected, rtol=1e-4, atol=1e-3)


def test_the_probability_rises_while_d_is_surer_than_the_target_and_else_falls_within_0_and_1() -> None:
    target, batch = 0.6, 5_000
    signs = [0.8] * 14 + [-0.5] * 9 + [1, 0.2] * 4 + [target] * 4
    expected, found = [], []
    average = probability = 0.0
    with tf.Graph().as_default(), tf.Session() as sess:
        now = tf.get_variable("probability", (), tf.float32, tf.zeros_initializer())
        sign = tf.placeholder(tf.float32, ())
        move = follow_overfitting(now, sign, target, tf.constant(batch))
        sess.run(tf.global_variables_initializer())
        for value in signs:
            average += (value - average) / WINDOW
            probability = float(np.clip(probability + np.sign(average - target) * batch / RISE, 0, 1))
            expected.append(probability)
            sess.run(move, {sign: value})
            found.append(float(sess.run(now)))
    assert found == expected, "quarters are exact"
    assert {0, 1} < set(found)
    steps = np.diff(found)
    assert steps.min() == -batch / RISE == -steps.max()
