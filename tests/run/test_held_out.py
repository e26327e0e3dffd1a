"""Held-out images: training never sees them, and the history says what the discriminator thinks of them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_runs import grids, train_tiny

from catdcgan import Dataset, draw_cats
from catdcgan.cli import main
from catdcgan.errors import DataError, InputError
from catdcgan.run.held_out import judge
from catdcgan.run.history import read_history
from catdcgan.run.record import read_record
from catdcgan.run.watch import GRIDS, Watch

SMALL = (
    "--data=drawn --drawn-count=40 --size=32 --base-filters=4 --batch-size=16 --quiet --sample-every-steps=2"
)


def test_the_history_has_them_at_each_grid_and_training_is_as_without(
    cats: np.ndarray, tmp_path: Path
) -> None:
    others = draw_cats(20, size=32, seed=9)
    train_tiny(cats, tmp_path / "with", sample_every_steps=2, held_out_images=others)
    train_tiny(cats, tmp_path / "without", sample_every_steps=2)
    records = read_history(tmp_path / "with/models/history.jsonl")
    assert ["d_held_out" in record for record in records] == [False, True, False]
    assert 0 < records[1]["d_held_out"] < 1
    assert grids(tmp_path / "with") == grids(tmp_path / "without")


def test_the_mean_is_over_all_images_in_batches_as_in_training() -> None:
    net: Any = SimpleNamespace(metrics={"d_real": "d_real"}, pixels="pixels", input_real="input_real")
    fed: list[tuple[str, int]] = []

    def run(fetched: str, feed: dict[str, np.ndarray]) -> float:
        ((name, batch),) = feed.items()
        fed.append((name, len(batch)))
        return float(batch.mean())

    images = np.zeros((10, 4, 4, 3), np.uint8)
    images[8:] = 1
    settings: Any = SimpleNamespace(batch_size=8)
    assert judge(SimpleNamespace(run=run), net, images, settings) == pytest.approx(0.2)
    judge(SimpleNamespace(run=run), net, images.astype(np.float32), settings)
    assert fed == [("pixels", 8), ("pixels", 2), ("input_real", 8), ("input_real", 2)]


def test_a_part_is_chosen_by_the_seed_and_taken_out() -> None:
    cats = draw_cats(20, size=16, seed=0)

    def parts(seed: int) -> tuple[list[bytes], list[bytes]]:
        dataset = Dataset.from_array(cats, seed)
        aside = dataset.put_aside(0.25)
        return [cat.tobytes() for cat in aside], [cat.tobytes() for cat in dataset.images]

    aside, rest = parts(0)
    assert (len(aside), len(rest)) == (5, 15)
    assert {*aside, *rest} == {cat.tobytes() for cat in cats}
    assert parts(0) == (aside, rest)
    assert parts(1)[0] != aside


@pytest.mark.parametrize(("count", "part", "aside"), [(2, 0.01, 1), (2, 0.99, 1), (3, 0.99, 2)])
def test_something_is_always_left_on_both_sides(count: int, part: float, aside: int) -> None:
    dataset = Dataset.from_array(draw_cats(count, size=16))
    assert len(dataset.put_aside(part)) == aside
    assert len(dataset.images) == count - aside


def test_nothing_can_be_put_aside_from_a_single_image() -> None:
    with pytest.raises(DataError, match="no picture can be put aside from a single one"):
        Dataset.from_array(draw_cats(1, size=16)).put_aside(0.5)


@pytest.mark.slow
def test_the_command_line_puts_a_part_aside_and_a_resume_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", *SMALL.split(), f"--out={run}", "--held-out=0.1", "--steps=2"]) == 0
    record = read_record(run / "run.json")
    assert record
    assert record["data"]["images"] == 36
    assert record["options"]["held_out"] == "0.1"
    assert main(["train", "--quiet", "--resume", f"--out={run}", "--steps=4"]) == 0
    assert ["d_held_out" in line for line in read_history(run / "history.jsonl")] == [False, True] * 2
    capsys.readouterr()
    assert main(["train", "--quiet", "--resume", f"--out={run}", "--held-out=none", "--steps=6"]) == 1
    assert "data images 36, now 40; data fingerprint" in (error := capsys.readouterr().err)
    assert "; --held-out 0.1, now none: resume with the old settings" in error


@pytest.mark.slow
def test_the_command_line_takes_a_folder_whose_place_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "others"
    assert main(["draw", "--count=3", "--size=32", f"--out={folder}"]) == 0
    assert main(["train", *SMALL.split(), f"--out={run}", f"--held-out={folder}", "--steps=2"]) == 0
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["images"] == 40
    assert record["options"]["held_out"] == str(folder)
    folder.rename(tmp_path / "elsewhere")
    assert main(["train", "--quiet", "--resume", f"--out={run}", "--steps=4"]) == 1
    assert f"holds out were in {folder}, which no longer exists: give their" in capsys.readouterr().err
    assert main(["train", "--quiet", "--resume", f"--out={run}", "--held-out=none", "--steps=4"]) == 0
    assert ["d_held_out" in line for line in read_history(run / "history.jsonl")][2:] == [False, False]
    assert main(["train", "--quiet", "--resume", f"--out={run}"]) == 0


@pytest.mark.parametrize("part", ["0", "1", "-0.1", "1.5", "nan", ""])
def test_what_is_no_part_and_no_folder_is_wrong_usage(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data=drawn", f"--held-out={part}"])
    assert ended.value.code == 2
    assert "--held-out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data=cats --held-out=cats", "--held-out cats and --data cats share pictures"),
        ("--data=cats --held-out=cats/some", "--held-out cats/some and --data cats share pictures"),
        ("--data=cats/some --held-out=cats", "--held-out cats and --data cats/some share pictures"),
        ("--data=drawn --held-out=0.1 --devices=2", "--held-out works in a single process"),
    ],
)
def test_held_out_pictures_are_others_and_for_one_process(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "--count=3", "--size=32", "--out=cats/some"]) == 0
    assert main(["train", *arguments.split()]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cats"]


def test_a_folder_that_does_not_exist_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", *SMALL.split(), f"--out={tmp_path / 'run'}", f"--held-out={tmp_path / 'none'}"]
    assert main(arguments) == 1
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_several_workers_are_refused(cats: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--held-out works in a single process"):
        train_tiny(cats, tmp_path, held_out_images=cats, workers=["a:1", "b:1"])
    assert not list(tmp_path.iterdir())


def said(outputs: list[tuple[float, float, float]]) -> list[str]:
    """What is said of the discriminator's outputs on real, generated and held-out images."""
    watch = Watch(0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, values in enumerate(outputs):
            watch.check_outputs(step, dict(zip(("d_real", "d_fake", "d_held_out"), values, strict=True)))
    return [str(warning.message) for warning in caught]


def test_a_discriminator_that_takes_others_for_generated_is_warned_of_once() -> None:
    (warning,) = said([(0.8, 0.2, 0.4)] * 3 * GRIDS)
    assert warning.startswith(f"step {GRIDS - 1}: the discriminator knows its pictures by heart. ")
    assert "0.80" in warning
    assert "0.40" in warning
    assert "--augment" in warning


@pytest.mark.parametrize(
    "outputs",
    [
        [(0.8, 0.2, 0.6)] * 100,  # a third of the way
        [(0.8, 0.2, 0.2)] * (GRIDS - 1),  # too few to tell
        [(0.55, 0.5, 0.45)] * 100,  # it tells nothing apart
        [(0.8, 0.2, 0.1), *[(0.8, 0.2, 0.8)] * 9] * 10,  # a single bad one
    ],
)
def test_one_that_does_not_is_no_trouble(outputs: list[tuple[float, float, float]]) -> None:
    assert said(outputs) == []
