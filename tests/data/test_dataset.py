"""A folder, list or array of images becomes honest batches, each image once an epoch; or says why not."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from pictures import BLUE, RED, plain, save
from PIL import Image

from catdcgan import DataError, Dataset
from catdcgan.data.dataset import prefetch, scale_pixels
from catdcgan.data.photos import IMAGE_SUFFIXES
from catdcgan.run.schedule import steps_per_epoch


def numbered_images(count: int) -> np.ndarray:
    """Images that tell their own number: all pixels of image i are i."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 3)).copy()


def epoch_order(dataset: Dataset, batch_size: int = 4, epoch: int | None = None) -> list[int]:
    """The numbers of the images in an epoch, in the order of its batches."""
    batches = list(dataset.get_batches(batch_size, epoch))
    return [round(float(value)) for batch in batches for value in (batch[:, 0, 0, 0] + 1) * 127.5]


# --- files --------------------------------------------------------------------------------------------------
def test_list_of_files_keeps_its_order_and_needs_no_known_ending(tmp_path: Path) -> None:
    files = [save(plain(BLUE), tmp_path / "z.png"), save(plain(RED), tmp_path / "a.png")]
    files[0] = files[0].rename(tmp_path / "z")
    assert Dataset([str(files[0]), files[1]], 32).images[:, 0, 0].tolist() == [list(BLUE), list(RED)]


def broken_files(folder: Path) -> list[Path]:
    """A text file, an empty file and half a photo, all three with an image's ending."""
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "void.png").touch()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    photo = save(Image.fromarray(noise), folder / "half.jpeg")
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    return [folder / name for name in ("half.jpeg", "text.jpg", "void.png")]


@pytest.mark.tutorial_bug(19)
def test_unreadable_files_are_skipped_and_named_in_one_warning(tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    save(plain(), tmp_path / "good.png")
    with pytest.warns(UserWarning, match="skipped 3 unreadable") as caught:
        dataset = Dataset(tmp_path, 32)
    assert dataset.shape == (1, 32, 32, 3)
    assert [file for file, _ in dataset.skipped] == broken
    assert all(reason for _, reason in dataset.skipped)
    assert len(caught) == 1
    assert all(f"{file} ({reason})" in str(caught[0].message) for file, reason in dataset.skipped)
    assert caught[0].filename == __file__  # the warning points at the line that made the dataset


@pytest.mark.tutorial_bug(19)
def test_warning_of_many_unreadable_files_names_ten_and_counts_the_rest(tmp_path: Path) -> None:
    save(plain(), tmp_path / "good.png")
    for number in range(13):
        (tmp_path / f"bad{number:02}.png").touch()
    with pytest.warns(UserWarning, match=r"skipped 13 unreadable: .*bad09\.png .*; and 3 more$") as caught:
        dataset = Dataset(tmp_path, 32)
    assert "bad10" not in str(caught[0].message)
    assert len(dataset.skipped) == 13


@pytest.mark.tutorial_bug(19)
def test_missing_file_in_a_list_is_skipped_by_name(tmp_path: Path) -> None:
    files = [save(plain(), tmp_path / "a.png"), tmp_path / "gone.png"]
    with pytest.warns(UserWarning, match=r"gone\.png"):
        assert Dataset(files, 32).shape[0] == 1


@pytest.mark.tutorial_bug(19)
def test_where_there_is_nothing_to_read_one_error_says_what_was_looked_for_and_where(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for source, words in (
        (tmp_path, [str(tmp_path), *IMAGE_SUFFIXES]),
        ("no/such/cats", ["no such folder", str(Path("no/such/cats")), str(Path.cwd())]),
        ([], ["no images in the list of files"]),
    ):
        with pytest.raises(DataError) as caught:
            Dataset(source, 32)
        assert isinstance(caught.value, ValueError)  # callers need not import it
        assert all(word in str(caught.value) for word in words)


@pytest.mark.tutorial_bug(19)
def test_folder_with_nothing_readable_is_one_error_that_names_folder_and_files(tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    for _ in range(2):  # pytest makes an error of a warning
        with pytest.raises(DataError, match=r"none of the 3 images in .* can be read") as caught:
            Dataset(tmp_path, 32)
        assert all(str(path) in str(caught.value) for path in [tmp_path, *broken])
    assert sorted(tmp_path.iterdir()) == broken  # and no cache


# --- arrays ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_array_of_images_is_a_dataset(channels: int, mode: str) -> None:
    dataset = Dataset.from_array(np.zeros((5, 32, 48, channels), np.uint8))
    assert (dataset.shape, dataset.image_mode, dataset.skipped) == ((5, 32, 48, channels), mode, [])


def test_array_and_folder_of_the_same_images_give_the_same_batches(cats: np.ndarray, tmp_path: Path) -> None:
    for number, cat in enumerate(cats[:6]):
        save(Image.fromarray(cat), tmp_path / f"{number}.png")
    datasets = Dataset(tmp_path, 32, seed=3), Dataset.from_array(cats[:6], seed=3)
    from_folder, from_array = (np.concatenate(list(dataset.get_batches(4))) for dataset in datasets)
    assert np.array_equal(from_folder, from_array)


@pytest.mark.parametrize("shape", [(32, 32, 3), (2, 32, 32), (2, 32, 32, 4), (2, 3, 32, 32), (0, 32, 32, 3)])
def test_array_of_another_shape_or_type_is_refused_with_what_it_was(shape: tuple[int, ...]) -> None:
    for images in (np.zeros(shape, np.uint8), np.zeros((2, 32, 32, 3), np.float32)):
        with pytest.raises(DataError, match="expected uint8 images") as caught:
            Dataset.from_array(images)
        assert f"got {images.dtype} {images.shape}" in str(caught.value)


# --- batches -----------------------------------------------------------------------------------------------
@pytest.mark.tutorial_bug(10)
def test_batches_fill_the_range_of_the_generators_tanh_and_a_dark_image_stays_dark() -> None:
    every_gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = np.concatenate([every_gray, every_gray // 4 + 10])
    batch = scale_pixels(images)
    assert batch.dtype == np.float32
    assert (batch[0].min(), batch[0].max()) == (-1, 1)
    assert np.array_equal(batch, images.astype(np.float32) / 127.5 - 1)
    assert np.array_equal(batch[1:], scale_pixels(images[1:]))
    pixels, scaled = (next(Dataset.from_array(images).get_batches(2, scale=scale)) for scale in (False, True))
    assert pixels.dtype == np.uint8
    assert np.array_equal(scaled, scale_pixels(pixels))


@pytest.mark.tutorial_bug(17)
@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (64, [11]), (1, [1] * 11)])
def test_last_and_smaller_batch_is_seen(batch_size: int, sizes: list[int]) -> None:
    dataset = Dataset.from_array(numbered_images(11))
    assert [len(batch) for batch in dataset.get_batches(batch_size)] == sizes
    assert steps_per_epoch(11, batch_size) == len(sizes)
    assert sorted(epoch_order(dataset, batch_size)) == list(range(11))


@pytest.mark.tutorial_bug(17)
def test_images_are_shuffled_anew_in_every_epoch_and_each_is_seen_once() -> None:
    dataset = Dataset.from_array(numbered_images(40))
    orders = [epoch_order(dataset) for _ in range(5)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(40))]}) == 6  # the files' own order is none


@pytest.mark.tutorial_bug(26)
def test_same_seed_gives_the_same_epochs_and_another_seed_others() -> None:
    first, second, other = (Dataset.from_array(numbered_images(40), seed) for seed in (5, 5, 6))
    orders = [[epoch_order(dataset) for _ in range(3)] for dataset in (first, second, other)]
    assert orders[0] == orders[1]
    assert all(order not in orders[0] for order in orders[2])


def test_epoch_asked_for_by_number_repeats_and_the_next_one_follows_it() -> None:
    orders = [epoch_order(Dataset.from_array(numbered_images(40)), epoch=epoch) for epoch in range(4)]
    dataset = Dataset.from_array(numbered_images(40))
    asked = [epoch_order(dataset, epoch=epoch) for epoch in (None, 2, None, 0, None)]
    assert asked == [orders[epoch] for epoch in (0, 2, 3, 0, 1)]


def test_two_epochs_read_in_turns_do_not_disturb_each_other() -> None:
    dataset = Dataset.from_array(numbered_images(8))
    pairs = zip(dataset.get_batches(4, epoch=0), dataset.get_batches(4, epoch=1), strict=True)
    interleaved = [round(float(value)) for one, _ in pairs for value in (one[:, 0, 0, 0] + 1) * 127.5]
    assert interleaved == epoch_order(dataset, epoch=0)


@pytest.mark.parametrize("batch_size", [0, -4])
def test_batch_size_below_one_is_refused_at_once(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, not {batch_size}"):
        Dataset.from_array(numbered_images(4)).get_batches(batch_size)


def test_what_is_made_ahead_comes_in_order_and_one_at_a_time() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    for number in prefetch(map(make, range(1, 6))):
        assert number <= len(made) <= number + 1
    assert made == [1, 2, 3, 4, 5]


def test_what_is_left_early_is_made_no_further() -> None:
    threads, endless = threading.active_count(), prefetch(itertools.count(1))
    assert next(endless) == 1
    del endless
    assert threading.active_count() == threads


def test_an_error_in_making_comes_where_the_item_would_have_come() -> None:
    ahead = prefetch(1 // number for number in (1, 0))
    assert next(ahead) == 1
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_the_fingerprint_tells_other_images_and_another_order_from_these(cats: np.ndarray) -> None:
    prints = {Dataset.from_array(images).fingerprint() for images in (cats, cats[::-1], cats[1:], cats ^ 1)}
    assert len(prints) == 4
    assert Dataset.from_array(cats.copy(), seed=5).fingerprint() == Dataset.from_array(cats).fingerprint()
