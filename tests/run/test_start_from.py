"""A run that starts from a checkpoint has its sizes and weights, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import Values, read_checkpoint, same, train_tiny

from catdcgan.cli import main
from catdcgan.errors import CheckpointError, InputError
from catdcgan.run.checkpoint_files import ENDINGS, NAME, REPOSITORY, numbered
from catdcgan.run.record import read_record
from catdcgan.run.start_from import DISCRIMINATOR, WAIT, discriminator_of, fingerprint
from catdcgan.settings import Settings


def part(values: Values, scope: str) -> Values:
    """The weights of a network, without Adam's slots, averages, and batch norm's statistics."""
    other = ("/Adam", "/Adam_1", "/ExponentialMovingAverage", "/moving_mean", "/moving_variance")
    return {name: v for name, v in values.items() if name.startswith(scope) and not name.endswith(other)}


def start(cats: np.ndarray, folder: Path, source: Path, **changes: Any) -> Path:
    """Train for some steps from a checkpoint; all numbered checkpoints are kept."""
    settings = {"z_dim": 100, "epoch_count": None, "save_every_epochs": 1, "keep_checkpoints": 100}
    train_tiny(cats, folder, start_from=str(source), **settings | changes)
    return folder / "models"


def test_the_generator_is_that_of_the_checkpoint_and_waits_for_a_new_discriminator(
    run: Path, cats: np.ndarray, tmp_path: Path
) -> None:
    source = run / "models" / NAME
    models = start(cats, tmp_path, source, step_count=4, generator_waits=3, average_decay=0.9)
    first, waited, last = (read_checkpoint(models / f"{NAME}-{step}") for step in (0, 3, 4))
    there = part(read_checkpoint(source), "generator")
    assert same(part(first, "generator"), there)
    averages = {name: first[f"{name}/ExponentialMovingAverage"] for name in there}
    assert same(averages, there)
    assert same(part(waited, "generator"), there)
    assert not same(part(waited, "discriminator"), part(first, "discriminator"))
    assert not same(part(last, "generator"), there)
    record = read_record(tmp_path / "models/run.json")
    assert record
    origin = {"generator": str(source), "fingerprint": fingerprint(source), "discriminator": None}
    assert record["starts"][0]["from"] == origin
    assert record["options"]["generator_waits"] == 3


def test_a_discriminator_in_the_checkpoint_or_beside_it_comes_along(
    run: Path, cats: np.ndarray, tmp_path: Path
) -> None:
    source = numbered(run / "models")[-1]
    there = part(read_checkpoint(source), "discriminator")
    first = read_checkpoint(start(cats, tmp_path / "one", source, step_count=1) / f"{NAME}-0")
    assert same(part(first, "discriminator"), there)
    for ending in ENDINGS:
        shutil.copy(run / "models" / f"{NAME}{ending}", tmp_path)
        shutil.copy(f"{source}{ending}", tmp_path / f"{DISCRIMINATOR}{ending}")
    assert discriminator_of(tmp_path / NAME) == tmp_path / DISCRIMINATOR
    first = read_checkpoint(start(cats, tmp_path / "two", tmp_path / NAME, step_count=1) / f"{NAME}-0")
    assert same(part(first, "discriminator"), there)
    assert same(part(first, "generator"), part(read_checkpoint(run / "models" / NAME), "generator"))


def test_a_checkpoint_of_another_size_is_refused_and_nothing_written(
    run: Path, cats: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="trained with another width"):
        start(cats, tmp_path, run / "models" / NAME, step_count=1, base_filters=8)
    assert not (tmp_path / "models" / "run.json").exists()


@pytest.mark.slow
def test_the_command_line_takes_sizes_and_waiting_from_the_checkpoint(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, source = tmp_path / "run", run / "models" / NAME
    command = [
        "train",
        f"--start-from={source}",
        "--data=drawn",
        "--drawn-count=20",
        f"--out={out}",
        "--quiet",
    ]
    assert main([*command, f"--steps={WAIT}", "--batch-size=16"]) == 1
    assert f"it waits for {WAIT} steps, and training ends after {WAIT}" in capsys.readouterr().err
    command += [f"--steps={WAIT + 9}", "--epochs=1", "--batch-size=16"]
    assert main(command) == 1
    assert f"it waits for {WAIT} steps, and training ends after 2." in capsys.readouterr().err
    assert main([*command, "--generator-waits=1"]) == 0
    record = read_record(out / "run.json")
    assert record
    taken = {"z_dim": 100, "base_filters": 4, "image_size": 32, "image_mode": "RGB", "generator_waits": 1}
    assert taken.items() <= record["options"].items()
    assert record["options"]["start_from"] == str(source)
    assert main(["train", "--resume", f"--out={out}", "--epochs=2", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            "--base-filters=8",
            1,
            "--base-filters 8 does not fit {source}, which was trained with 4: leave it out",
        ),
        ("--size=64", 1, "--size 64 does not fit"),
        ("--mode=L", 1, "--mode L does not fit"),
        ("--z-dim=50", 1, "--z-dim 50 does not fit"),
        ("--resume", 2, "--start-from is for a new run"),
    ],
)
def test_options_that_contradict_the_checkpoint_are_refused(
    arguments: str, status: int, message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = run / "models" / NAME, tmp_path / "run"
    ended: int | str | None
    try:
        ended = main(["train", f"--start-from={source}", "--data=drawn", f"--out={out}", *arguments.split()])
    except SystemExit as error:
        ended = error.code
    assert ended == status
    assert message.format(source=source) in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.slow
def test_the_included_model_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = []

    def refuse(settings: Settings, *_: Any, **__: Any) -> None:
        given.append(settings.start_from)
        raise InputError("not today")

    monkeypatch.setattr("catdcgan.training.run_training", refuse)
    command = ["train", "--start-from=models/model.ckpt", "--data=drawn", "--drawn-count=20", "--quiet"]
    assert main(command) == 1
    assert given == [str(REPOSITORY / "models" / NAME)]
    assert list((tmp_path / "runs").iterdir()) == [], "the folder of a refused run is not left behind"


def test_a_checkpoint_that_is_not_there_is_one_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", f"--start-from={tmp_path / 'none.ckpt'}", "--data=drawn", f"--out={tmp_path / 'run'}"]
    assert main(command) == 1
    assert f"no checkpoint {tmp_path / 'none.ckpt'}" in capsys.readouterr().err
