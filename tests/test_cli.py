"""The command line: what it makes, and what it says when something cannot be done."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pictures import files
from PIL import Image, ImageSequence

from catdcgan import (
    Dataset,
    __version__,
    direction_step,
    draw_cats,
    find_numbered_directions,
    random_latents,
    read_directions,
    read_losses,
    sample,
    save_directions,
    save_latents,
    shift_latents,
    train,
)
from catdcgan.cli import main, parser
from catdcgan.errors import InputError
from catdcgan.explore.directions import Directions
from catdcgan.explore.model_options import model_options
from catdcgan.images import image_grid
from catdcgan.output import check_folders
from catdcgan.run.folder import RunFolder, folder_of
from catdcgan.run.start import TrainingData
from catdcgan.run.workers import Workers
from catdcgan.settings import RECIPES, Settings
from catdcgan.tf1 import tf

REPOSITORY = Path(__file__).parents[1]
TINY = ["--drawn-count=16", "--size=32", "--base-filters=4", "--batch-size=8", "--z-dim=8"]

OPTIONS = {
    "train": [
        *("out", "resume", "recipe"),
        *(item.metadata["option"].removeprefix("--") for item in fields(Settings)),
        *("devices", "workers", "worker", "step-limit", "quiet", "drawn-count"),
    ],
    "sample": [
        *("count", "grid", "pick", "seed", "scale", "truncate", "walk", "frames", "out"),
        *("set", "directions", "latents", "save-latents", "checkpoint", "half-range", "alpha", "z"),
    ],
    "directions": ["out", "picture", "unsupervised", "checkpoint", "half-range", "alpha", "z"],
    "lookalike": ["eyes", "out", "seed", "checkpoint", "half-range", "alpha", "z"],
    "evaluate": [
        *("checkpoint", "half-range", "alpha", "z"),
        *("data", "count", "seed", "json", "sheet", "neighbours"),
    ],
    "export": ["to", "out", "half", "directions", "z", "checkpoint", "half-range", "alpha"],
    "draw": ["count", "size", "seed", "out"],
    "download": ["out", "sha256"],
    "prepare": ["out", "size", "keep-outliers"],
}

WHOLE_NUMBERS = {
    "train --data=drawn": ("epochs", "steps", "batch-size", "base-filters", "size", "z-dim", "drawn-count"),
    "sample --walk 0 1": ("count", "frames", "pick", "scale", "seed"),
    "draw --out=x": ("count", "size"),
    "prepare photos --out=x": ("size",),
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "catdcgan", *arguments]


def environment() -> dict[str, str]:
    """The user's, in which this checkout is found and nothing is set for TensorFlow."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return variables | {"PYTHONPATH": str(REPOSITORY)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs of two steps that the command line trained."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    status = main(
        [
            "train",
            "--data=drawn",
            f"--out={folder}",
            "--epochs=2",
            "--sample-every-steps=2",
            "--seed=5",
            *TINY,
        ]
    )
    assert status == 0
    return folder


# Help


def test_help_tells_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert set(re.findall(r"^    (\w+)\b", out, re.MULTILINE)) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_help_of_a_command_explains_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    listing = capsys.readouterr().out.split("options:")[1]
    entries = [entry.split() for entry in listing.split("\n  -") if entry.strip()]
    assert [words[0].strip("-,") for words in entries] == ["h", *OPTIONS[name]]
    assert all(len(words) > 2 for words in entries), "every option has an explanation"
    assert not re.search(r"\(default: (None|False|\(\)|\[)", listing)
    assert all(" ".join(words).count("(default:") <= 1 for words in entries)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


# train


def test_train_makes_the_files_of_a_run(trained: Path) -> None:
    made = {str(file.relative_to(trained)) for file in trained.rglob("*") if file.is_file()}
    events = {name for name in made if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert made - events == {
        *(f"models/model.ckpt{n}{e}" for n in ("", "-0", "-4") for e in (".index", ".data-00000-of-00001")),
        *("history.jsonl", "run.json", "models/.lock", "models/.lock-holder"),
        *(f"images/step_000000{step}.png" for step in (0, 2, 4)),
        "images/losses.png",
        "images/training.gif",
        "images/training.png",
    }
    assert len(read_losses(trained / "history.jsonl")) == 4
    with Image.open(trained / "images" / "training.gif") as film:
        assert film.size == (160, 160 + 25), "the step stands above"
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(film)] == [100, 100, 2000]


def test_train_resumes_and_says_how_to_look_at_the_result(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    status = main(
        [
            "train",
            "--data=drawn",
            f"--out={tmp_path}",
            "--resume",
            "--epochs=9",
            "--steps=5",
            "--seed=5",
            *TINY,
        ]
    )
    assert status == 0
    assert len(read_losses(tmp_path / "history.jsonl")) == 5
    out = capsys.readouterr().out
    assert "Training is done. See " in out
    assert f"catdcgan sample --checkpoint={tmp_path}/models/model.ckpt" in out


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*too few")
def test_train_takes_a_folder_of_pictures(tmp_path: Path) -> None:
    assert main(["draw", "--count=5", "--size=48", f"--out={tmp_path / 'cats'}"]) == 0
    assert (
        main(["train", f"--data={tmp_path / 'cats'}", f"--out={tmp_path}", "--mode=L", "--epochs=1", *TINY])
        == 0
    )
    with Image.open(tmp_path / "images" / "step_0000000.png") as grid:
        assert grid.mode == "L"


@pytest.mark.filterwarnings("default:.*the rest is lost")
def test_resuming_without_the_old_pictures_still_ends_well(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run moved to another machine brings its models alone."""
    shutil.copytree(trained / "models", tmp_path / "models")
    arguments = ["train", "--data=drawn", f"--out={tmp_path}", "--resume", "--epochs=3", "--seed=5", *TINY]
    assert main(arguments) == 0  # two more steps, and a grid only every 100
    assert (tmp_path / "models" / "model.ckpt-6.index").is_file()
    warning = f"catdcgan: warning: {tmp_path}/history.jsonl holds 0 of the run's 4 steps"
    assert warning in capsys.readouterr().err


@pytest.mark.slow
def test_runs_are_numbered_unless_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--data=drawn", "--quiet", *TINY]
    assert main([*arguments, "--resume"]) == 1
    assert "no run in" in capsys.readouterr().err
    assert main([*arguments, "--steps=1"]) == 0
    assert main([*arguments, "--steps=1"]) == 0
    assert main([*arguments, "--steps=2", "--resume"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "", "quiet is quiet"
    assert [len(read_losses(Path("runs", run, "history.jsonl"))) for run in ("001", "002")] == [1, 2]


def test_ctrl_c_before_training_has_begun_is_an_interruption_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("catdcgan.training.run_training", train)
    assert main(["train", "--data=drawn", f"--out={tmp_path}", "--quiet", *TINY]) == 130
    assert capsys.readouterr().err == "catdcgan: interrupted\n"


def test_a_recipe_sets_what_the_command_does_not(given: list[Given], tmp_path: Path) -> None:
    arguments = ["train", "--data=drawn", "--drawn-count=2", "--recipe=better"]
    assert main([*arguments, f"--out={tmp_path / 'one'}", "--batch-size=7"]) == 0
    expected: Any = RECIPES["better"] | {"batch_size": 7, "data_source": "drawn"}
    assert given[0].settings == Settings(**expected)
    assert given[0].settings.epoch_count is None, "few pictures do not end it before its steps"
    assert main([*arguments, f"--out={tmp_path / 'other'}", "--epochs=3"]) == 0
    assert (given[1].settings.epoch_count, given[1].settings.step_count) == (3, 9000)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:--recipe is for a new run")
@pytest.mark.filterwarnings("default:.*too few")
@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("drawn", "--flip"),
        ("40", "--mode=L --z=normal --augment=color --learning-rate-D=0.001 --average-decay=0.9"),
    ],
)
def test_resume_alone_goes_on_from_anywhere_with_the_pictures_and_settings_of_the_run(
    data: str,
    options: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "--count=9", "--size=40", "--out=40"]) == 0
    assert main(["train", f"--data={data}", "--out=run", "--steps=1", *options.split(), *TINY]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume = ["train", "--resume", f"--out={tmp_path / 'run'}"]
    assert main(resume) == 0
    assert main([*resume, "--steps=2", "--recipe=better"]) == 0
    assert "warning: --recipe is for a new run: settings come from" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [start["changed"] for start in record["starts"]] == [{}, {}, {"step_count": [1, 2]}]
    assert record["options"]["data_source"] == (data if data == "drawn" else str(tmp_path / "40"))
    shutil.move(tmp_path / "40", tmp_path / "moved")
    assert main([*resume, f"--data={'drawn' if data == 'drawn' else tmp_path / 'moved'}"]) == 0


class Given(NamedTuple):
    """What the command line would have trained with."""

    settings: Settings
    data: TrainingData
    folder: RunFolder
    resume: bool
    others: dict[str, Any]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What each command would have trained with: nothing is trained."""
    calls: list[Given] = []

    def run_training(
        settings: Settings, data: TrainingData, folder: RunFolder, resume: bool, **others: Any
    ) -> tuple[list[tuple[float, float]], list[Path]]:
        calls.append(Given(settings, data, folder, resume, others))
        folder.images.mkdir(parents=True)
        folder.history.write_text('{"step": 1, "d_loss": 1.0, "g_loss": 1.0}\n')
        Image.new("RGB", (5 * settings.image_size,) * 2).save(folder.grid(0))
        return [(1.0, 1.0)], [folder.grid(0)]

    monkeypatch.setattr("catdcgan.training.run_training", run_training)
    return calls


def test_every_option_reaches_the_training(given: list[Given], tmp_path: Path) -> None:
    options = "--resume --epochs=3 --steps=7 --batch-size=9 --base-filters=5 --size=48 --mode=L --z-dim=11"
    options += " --learning-rate-D=0.001 --learning-rate-G=0.002 --beta1=0.3 --alpha=0.4 --smooth=0.25 --flip"
    options += " --average-decay=0.9 --seed=6 --save-every-epochs=8 --sample-every-steps=12 --drawn-count=4"
    options += " --augment=cutout,color --z=normal --save-every-minutes=3 --keep-checkpoints=2 --quiet"
    options += " --xla --mixed-precision --decay-part=0.2 --statistics-latents=32 --generator-waits=4"
    options += " --held-out=0.25 --augment-target=0.6"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.ckpt.index").touch()  # something to resume
    assert main(["train", "--data=drawn", f"--out={tmp_path}", *options.split()]) == 0
    settings, data, folder, resume, others = given[0]
    assert settings == Settings(
        data_source="drawn",
        epoch_count=3,
        step_count=7,
        batch_size=9,
        base_filters=5,
        image_size=48,
        image_mode="L",
        z_dim=11,
        learning_rate_D=0.001,
        learning_rate_G=0.002,
        beta1=0.3,
        alpha=0.4,
        smooth=0.25,
        flip=True,
        average_decay=0.9,
        seed=6,
        save_every_epochs=8,
        sample_every_steps=12,
        augment=("cutout", "color"),
        z_distribution="normal",
        save_every_minutes=3,
        keep_checkpoints=2,
        xla=True,
        mixed_precision=True,
        decay_part=0.2,
        statistics_latents=32,
        generator_waits=4,
        held_out="0.25",
        augment_target=0.6,
    )
    left_out = [f.name for f in fields(Settings) if getattr(settings, f.name) == f.default]
    assert left_out == ["start_from"], "which is for new runs"
    assert folder == folder_of(tmp_path)
    assert (resume, others) == (True, {"event_files": True, "quiet": True, "workers": Workers()})
    get_batches: Any = data.get_batches
    dataset = get_batches.func.__self__
    assert next(get_batches(1)).dtype == np.uint8  # the graph scales
    painted = Dataset.from_array(draw_cats(4, 48, seed=6, mode="L"), seed=6)
    assert data.held_out is not None
    assert np.array_equal(data.held_out, painted.put_aside(0.25))
    assert np.array_equal(dataset.images, painted.images)
    assert (dataset.seed, data.shape, data.fingerprint) == (6, (3, 48, 48, 1), dataset.fingerprint())


@pytest.mark.filterwarnings("default:.*too few")
@pytest.mark.parametrize(("count", "warned"), [(99, True), (100, False)])
def test_training_on_fewer_than_100_pictures_warns_once_of_what_comes_of_it(
    count: int,
    warned: bool,
    given: list[Given],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draw", f"--count={count}", "--size=16", "--out=cats"]) == 0
    assert main(["train", "--data=cats", "--size=32", "--out=run"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "too few" in line]
    assert len(said) == warned
    assert all("too few pictures (99)" in line and "docs/few-pictures.md" in line for line in said)
    assert (REPOSITORY / "docs" / "few-pictures.md").exists()


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--mixed-precision", True),
        ("--mixed-precision on", True),
        ("--mixed-precision auto", "auto"),
        ("--mixed-precision off --flip", False),
        ("--no-mixed-precision", False),
        ("--recipe=better", "auto"),
        ("--recipe=better --no-mixed-precision", False),
        ("--recipe=article", False),
    ],
)
def test_mixed_precision_takes_a_word_or_none(
    words: str, value: bool | str, given: list[Given], tmp_path: Path
) -> None:
    command = ["train", "--data=drawn", "--drawn-count=2", f"--out={tmp_path / 'run'}", *words.split()]
    assert main(command) == 0
    assert given[0].settings.mixed_precision is value or given[0].settings.mixed_precision == value == "auto"


def test_the_defaults_are_those_of_the_article(given: list[Given], tmp_path: Path) -> None:
    assert main(["train", "--data=drawn", f"--out={tmp_path}", "--drawn-count=2"]) == 0
    ours = {"save_every_minutes": 10, "sample_every_steps": 100, "data_source": "drawn"}
    assert given[0].settings == Settings(**ours)  # type: ignore[arg-type]
    article = inspect.signature(train).parameters
    defaults = {f.name: f.default for f in fields(Settings) if f.name in article and f.name not in ours}
    with_default = {n: p.default for n, p in article.items() if p.default is not p.empty and n in defaults}
    assert {name: defaults[name] for name in with_default} == with_default
    assert defaults == defaults | {"epoch_count": 215, "batch_size": 64, "z_dim": 100, "alpha": 0.2}
    assert defaults == defaults | {"learning_rate_D": 5e-5, "learning_rate_G": 2e-4, "beta1": 0.5}
    assert (given[0].data.shape, given[0].resume) == ((2, 128, 128, 3), False)


# sample


def test_sample_draws_a_grid(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, out = trained / "models" / "model.ckpt", tmp_path / "new" / "cats.png"
    assert main(["sample", f"--checkpoint={checkpoint}", "--count=5", "--seed=1", f"--out={out}"]) == 0
    expected = sample(checkpoint, random_latents(5, 8, seed=1))
    with Image.open(out) as grid:
        assert grid.size == (3 * 32, 2 * 32)
        assert np.array_equal(np.asarray(grid), np.asarray(image_grid(expected)))
    assert str(out) in capsys.readouterr().out
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("name", ["cats", "v1.0", "cats.d"])
def test_sample_draws_single_pictures_into_a_folder(name: str, trained: Path, tmp_path: Path) -> None:
    checkpoint, out = trained / "models" / "model.ckpt", tmp_path / "new" / name
    assert main(["sample", f"--checkpoint={checkpoint}", "--count=3", f"--out={out}"]) == 0
    pictures = [np.asarray(Image.open(file)) for file in sorted(out.iterdir())]
    assert sorted(file.name for file in out.iterdir()) == [f"cat_0000{number}.png" for number in range(3)]
    assert np.array_equal(pictures, sample(checkpoint, random_latents(3, 8, seed=0)))


@pytest.mark.parametrize(
    ("option", "pixel_range", "alpha"),
    [([], 1.0, 0.2), (["--half-range"], 0.5, 0.2), (["--alpha=0.4"], 1.0, 0.4)],
)
def test_sample_draws_in_the_range_and_with_the_slope_that_the_model_was_trained_with(
    option: list[str],
    pixel_range: float,
    alpha: float,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    def draw(checkpoint: Path, z: np.ndarray, pixel_range: float, alpha: float) -> Iterator[np.ndarray]:
        given.append((pixel_range, alpha))
        yield from np.zeros((len(z), 32, 32, 3), np.uint8)

    monkeypatch.setattr("catdcgan.sampling.sample_one_by_one", draw)
    checkpoint, out = trained / "models" / "model.ckpt", tmp_path / "cats.png"
    assert main(["sample", f"--checkpoint={checkpoint}", "--count=1", f"--out={out}", *option]) == 0
    assert given == [(pixel_range, alpha)]


def test_sample_writes_single_pictures_as_they_come_so_that_memory_holds_few(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cats"

    def draw(checkpoint: Path, z: np.ndarray, **_: float) -> Iterator[np.ndarray]:
        for number in range(len(z)):
            assert len(list(out.glob("*"))) == number
            yield np.zeros((32, 32, 3), np.uint8)

    monkeypatch.setattr("catdcgan.sampling.sample_one_by_one", draw)
    checkpoint = trained / "models" / "model.ckpt"
    assert main(["sample", f"--checkpoint={checkpoint}", "--count=99", f"--out={out}"]) == 0
    assert len(list(out.iterdir())) == 99


@pytest.mark.parametrize(("columns", "rows"), [(4, 2), (1, 3)])
def test_sample_fills_a_grid_of_the_shape_asked_for(
    columns: int, rows: int, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = trained / "models" / "model.ckpt", tmp_path / "cats.png"
    assert main(["sample", f"--checkpoint={checkpoint}", f"--grid={columns}x{rows}", f"--out={out}"]) == 0
    count = columns * rows
    expected = image_grid(sample(checkpoint, random_latents(count, 8, seed=0)), columns=columns)
    assert expected.size == (columns * 32, rows * 32)
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(expected))
    assert capsys.readouterr().out == f"{count} cats in {out}\n"


@pytest.fixture
def latents(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The latents that the command line would have drawn: each becomes a picture of one colour."""
    given: list[np.ndarray] = []

    def draw(checkpoint: Path, z: np.ndarray, **_: float) -> Iterator[np.ndarray]:
        given.append(z)
        for number in range(len(z)):
            yield np.full((32, 32, 3), 20 * number, np.uint8)

    monkeypatch.setattr("catdcgan.sampling.sample_one_by_one", draw)
    return given


@pytest.mark.parametrize(
    ("z", "option", "bound"),
    [
        ("uniform", [], None),
        ("normal", [], None),
        ("uniform", ["--truncate=0.25"], 0.25),
        ("normal", ["--truncate=0.25"], 0.25),
        ("normal", ["--truncate=2"], 2),
    ],
)
def test_sample_truncates_the_latents_if_asked_to(
    z: str, option: list[str], bound: float | None, latents: list[np.ndarray], trained: Path, tmp_path: Path
) -> None:
    arguments = ["--count=3", "--seed=4", f"--z={z}", f"--out={tmp_path / 'cats.png'}", *option]
    assert main(["sample", f"--checkpoint={trained / 'models' / 'model.ckpt'}", *arguments]) == 0
    assert np.array_equal(latents[0], random_latents(3, 8, 4, z, bound))


def test_sample_picks_cats_by_their_numbers_in_the_grid(
    latents: list[np.ndarray], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("cats.png", "cats"):
        arguments = ["--seed=2", "--pick", "70", "3", f"--out={tmp_path / out}"]
        assert main(["sample", f"--checkpoint={trained}", *arguments]) == 0
        assert np.array_equal(latents[-1], random_latents(71, 8, seed=2)[[70, 3]])
    assert {*files(tmp_path)} == {"cats.png", "cats", "cats/cat_00070.png", "cats/cat_00003.png"}
    with Image.open(tmp_path / "cats.png") as grid:
        assert grid.size == (64, 32)
    assert main(["sample", f"--checkpoint={trained}", "--pick", "0", f"--out={tmp_path / 'one.png'}"]) == 0
    assert capsys.readouterr().out.endswith(f"1 cat in {tmp_path / 'one.png'}\n")


@pytest.mark.parametrize(
    ("shape", "name", "size"),
    [
        (["--count=4"], "cats.png", (256, 256)),
        (["--count=1"], "cats/cat_00000.png", (128, 128)),
        (["--walk", "0", "1", "--frames=1"], "cats.gif", (128, 128)),
    ],
)
def test_sample_scales_cats_up(
    shape: list[str], name: str, size: tuple[int, int], trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / Path(name).parts[0]
    assert main(["sample", f"--checkpoint={trained}", "--scale=4", *shape, f"--out={out}"]) == 0
    with Image.open(tmp_path / name) as picture:
        assert picture.size == size


def test_sample_finds_the_included_model_from_elsewhere_or_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--pick", "17"]) == 0
    assert list(files(tmp_path)) == ["cats.png"]
    monkeypatch.setattr("catdcgan.run.checkpoint_files.REPOSITORY", tmp_path / "site-packages")
    capsys.readouterr()
    assert main(["sample"]) == 1
    assert "the included model is part of the repository" in capsys.readouterr().err
    (tmp_path / "models").mkdir()  # of the user's own: never another model in its place
    assert main(["sample"]) == 1
    assert "no checkpoint models/model.ckpt" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "kind"), [("new/walk.gif", "GIF"), ("walk.WEBP", "WEBP")])
def test_sample_walks_from_cat_to_cat_and_back(
    name: str, kind: str, latents: list[np.ndarray], trained: Path, tmp_path: Path
) -> None:
    checkpoint, out = trained / "models" / "model.ckpt", tmp_path / name
    arguments = ["--count=9", "--seed=2", "--truncate=0.5", "--walk", "1", "8", "4", "--frames=2"]
    assert main(["sample", f"--checkpoint={checkpoint}", *arguments, f"--out={out}"]) == 0
    z = random_latents(9, 8, seed=2, truncate=0.5)
    ways = [z[1], (z[1] + z[8]) / 2, z[8], (z[8] + z[4]) / 2, z[4], (z[4] + z[1]) / 2]
    assert np.allclose(latents[0], ways, atol=1e-6)
    with Image.open(out) as film:
        assert (film.format, film.size, film.info["loop"]) == (kind, (32, 32), 0)
        frames = [np.asarray(frame.convert("L")).mean() for frame in ImageSequence.Iterator(film)]
    assert np.allclose(frames, [0, 20, 40, 60, 80, 100], atol=3)
    assert list(out.parent.iterdir()) == [out]


def test_sample_walks_slowly_into_cats_gif_by_itself(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = trained / "models" / "model.ckpt"
    assert main(["sample", f"--checkpoint={checkpoint}", "--walk", "3", "63"]) == 0
    assert capsys.readouterr().out == "60 frames in cats.gif\n"
    assert list(files(tmp_path)) == ["cats.gif"]


@pytest.fixture
def knobs(trained: Path, tmp_path: Path) -> Path:
    """Numbered directions of the trained model."""
    file = tmp_path / "knobs.npz"
    assert main(["directions", f"--checkpoint={trained}", "--unsupervised", f"--out={file}"]) == 0
    return file


def test_sample_turns_knobs_of_all_cats_in_grids_single_pictures_and_walks(
    knobs: Path, latents: list[np.ndarray], trained: Path, tmp_path: Path
) -> None:
    step = direction_step(read_directions(trained, knobs), {"1": 2, "3": -1})
    turned = ["sample", f"--checkpoint={trained}", "--set=1=2", "--set=3=-1", f"--directions={knobs}"]
    z = shift_latents(random_latents(3, 8), step)
    assert np.abs(z).max() == 1
    for out in ("cats.png", "cats"):
        assert main([*turned, "--count=3", f"--out={tmp_path / out}"]) == 0
        assert np.array_equal(latents.pop(), z)
    assert main([*turned, "--count=3", "--walk", "2", "0", "--frames=1", f"--out={tmp_path / 'w.gif'}"]) == 0
    assert np.array_equal(latents.pop(), z[[2, 0]])
    assert main([*turned, "--count=3", "--z=normal", f"--out={tmp_path / 'cats.png'}"]) == 0
    assert np.allclose(latents.pop(), random_latents(3, 8, distribution="normal") + step, atol=1e-6)


def test_saved_latents_make_the_same_cats_again_and_one_can_walk_between_them(
    knobs: Path, trained: Path, tmp_path: Path, latents: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "new" / "one.npy", tmp_path / "other.npy"
    start = ["sample", f"--checkpoint={trained}", f"--out={tmp_path / 'cats.png'}"]
    assert main([*start, "--count=2", "--set=1=2", f"--directions={knobs}", f"--save-latents={one}"]) == 0
    assert f"2 latents in {one}" in capsys.readouterr().out
    assert main([*start, "--count=1", "--seed=7", f"--save-latents={other}"]) == 0
    stored = np.load(one)
    assert stored.dtype == np.float32
    assert np.array_equal(stored, latents[0])
    assert main([*start, "--latents", str(one), str(other), "--grid=3x1"]) == 0
    assert np.array_equal(latents[2], [*latents[0], *latents[1]])
    walk = ["--walk", "1", "2", "--frames=2", f"--out={tmp_path / 'walk.gif'}", f"--save-latents={other}"]
    assert main([*start, "--latents", str(one), str(other), *walk]) == 0
    assert np.array_equal(latents[3][[0, 2]], latents[2][1:])
    assert np.array_equal(np.load(other), latents[3]), "one for each frame"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--set=1=2", "no directions yet"),
        ("--set=1=9 --directions=knobs.npz", "cannot set 1=9; there are 1 -3 to 3, 2 -3 to 3, 3 -3"),
        ("--set=coat=1 --directions=knobs.npz", "cannot set coat=1; there are 1 -3 to 3"),
        ("--set=1=2 --directions=foreign.npz", "directions of another model"),
        ("--latents=nosuch.npy", "nosuch.npy"),
        ("--latents=short.npy", "short.npy: latents of 7 numbers, and the model"),
        ("--latents ok.npy short.npy", "short.npy holds float32 (2, 7): expected latents (n, 8)"),
        (
            "--latents=large.npy",
            "large.npy hold numbers up to 1.5: uniform latents are in [-1, 1], give",
        ),
        ("--save-latents=ok.npy/x.npy", "ok.npy is a file"),
    ],
)
def test_latents_and_knobs_that_do_not_fit_are_one_line_and_nothing_is_drawn(
    arguments: str,
    message: str,
    knobs: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_directions(read_directions(trained, knobs)._replace(fingerprint="0" * 16), "foreign.npz")
    for name, values in {
        "ok": np.ones((2, 8)),
        "short": np.ones((2, 7)),
        "large": np.full((2, 8), 1.5),
    }.items():
        save_latents(values, f"{name}.npy")
    before = files(tmp_path)
    capsys.readouterr()
    assert main(["sample", f"--checkpoint={trained}", *arguments.split()]) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("catdcgan: ")
    assert message in line
    assert captured.out == ""
    assert files(tmp_path) == before


def test_grid_must_fit_the_latents(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_latents(np.ones((2, 8)), tmp_path / "two.npy")
    with pytest.raises(SystemExit):
        main(["sample", f"--checkpoint={trained}", "--grid=2x2", "--latents", str(tmp_path / "two.npy")])
    assert "--grid: 2x2 is a grid of 4, and --latents has 2 latents" in capsys.readouterr().err


# directions


def test_directions_are_kept_beside_the_checkpoint_with_a_picture_and_sample_finds_them_there(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert main(["directions", f"--checkpoint={run}", "--unsupervised"]) == 0
    said = capsys.readouterr().out
    assert f"8 directions in {run / 'models' / 'directions.npz'}" in said
    with Image.open(run / "models" / "directions.png") as picture:
        assert picture.height == 8 * 32
    assert (
        main(["sample", f"--checkpoint={run}", "--set=8=1", "--count=1", f"--out={tmp_path / 'c.png'}"]) == 0
    )


def test_named_directions_are_found_as_the_model_was_trained(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def find(*arguments: Any, **how: Any) -> Directions:
        asked.append((*arguments, how))
        return find_numbered_directions(trained)

    monkeypatch.setattr("catdcgan.explore.directions.find_directions", find)
    out = ["--out", str(tmp_path / "d.npz"), "--picture", str(tmp_path / "d.jpg")]
    trained_as = ["--half-range", "--alpha=0.3", "--z=normal"]
    assert main(["directions", "--checkpoint", str(trained), *out, *trained_as]) == 0
    assert asked == [(str(trained), {"pixel_range": 0.5, "alpha": 0.3, "z_distribution": "normal"})]
    assert sorted(files(tmp_path)) == ["d.jpg", "d.npz"]


def test_sample_as_a_command_prints_one_line_and_no_banner_of_tensorflow(
    trained: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        command("sample", f"--checkpoint={trained / 'models' / 'model.ckpt'}", "--count=4"),
        cwd=tmp_path,
        env=environment() | {"TQDM_DISABLE": "1"},  # on a busy machine there may be something to wait for
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 cats in cats.png\n", "")
    with Image.open(tmp_path / "cats.png") as grid:
        assert grid.size == (64, 64)


# draw


def test_draw_makes_a_grid(tmp_path: Path) -> None:
    out = tmp_path / "cats.jpg"
    assert main(["draw", "--count=4", "--size=32", f"--out={out}"]) == 0
    with Image.open(out) as grid:
        assert (grid.format, grid.size) == ("JPEG", (64, 64))


def test_draw_fills_a_folder_with_the_cats_of_the_seed(tmp_path: Path) -> None:
    out = tmp_path / "cats"
    assert main(["draw", "--count=3", "--size=40", "--seed=2", f"--out={out}"]) == 0
    assert sorted(file.name for file in out.iterdir()) == [f"cat_0000{number}.png" for number in range(3)]
    pictures = [np.asarray(Image.open(file)) for file in sorted(out.iterdir())]
    assert np.array_equal(pictures, draw_cats(3, 40, seed=2))


# prepare and download


def test_prepare_makes_faces_of_a_folder_and_says_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (60, 40), "red").save(tmp_path / "photo.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    assert main(["prepare", str(tmp_path), f"--out={tmp_path / 'faces'}", "--size=32"]) == 0
    with Image.open(tmp_path / "faces" / "photo.png") as picture:
        assert picture.size == (32, 32)
    line = capsys.readouterr().out
    assert "2 photos: 1 written, 1 unreadable" in line
    assert str(tmp_path / "faces" / "report.json") in line


def test_download_fetches_a_zip_and_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "cats.zip", "w") as archive:
        archive.writestr("cat.jpg", b"meow")
    url = (tmp_path / "cats.zip").as_uri()
    assert main(["download", url, f"--out={tmp_path / 'data'}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "data" / "cats.zip")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "nowhere", "--out=faces"], "nowhere"),
        (["prepare", "empty", "--out=faces"], "no photos"),
        (["download", "ftp://127.0.0.1/cats.zip", "--out=data"], "ftp"),
        (["download", "https://127.0.0.1/cats.zip", "--out=data", "--sha256=12"], "64 hexadecimal digits"),
    ],
)
def test_photos_that_cannot_be_had_are_one_line_and_leave_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("catdcgan: ")
    assert words in output.err
    assert list(files(tmp_path)) == ["empty"]


def test_what_needs_no_tensorflow_does_not_wait_for_it(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a-file").touch()
    refused = ["sample --checkpoint=nosuch", *(f"train --data={data}" for data in ("no", "empty", "a-file"))]
    refused += [f"train --data=drawn --out={out}" for out in ("a-file", "a-file/x", trained)]
    refused += ["train --resume", f"train --resume --out={trained} --batch-size=9"]
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from catdcgan.cli import main\n"
        "print([main(line.split()) for line in sys.argv[1:]])"
    )
    lines = ["draw --count=1 --size=32 --out=cats", *refused]
    program = [sys.executable, "-c", code, *lines]
    done = subprocess.run(program, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == [str([0, *(1 for _ in refused)])], done.stderr


def test_a_drive_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.lexists", lambda _: False)
    with pytest.raises(InputError, match="is not there: name another folder"):
        check_folders(Path("cats"))


@pytest.mark.parametrize(
    "error", [MemoryError("OOM"), tf.errors.ResourceExhaustedError(None, None, "OOM\nmore")]
)
def test_too_little_memory_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw_cats(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("catdcgan.cli.draw_cats", draw_cats)
    assert main(["draw", f"--out={tmp_path / 'cats'}"]) == 1
    assert capsys.readouterr().err == "catdcgan: out of memory (OOM): use fewer or smaller pictures\n"


# Wrong usage: status 2, and the usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: COMMAND"),
        ("paint", "invalid choice: 'paint'"),
        ("train --out=x", "required: --data"),
        ("draw", "required: --out"),
        ("train --data=drawn --out=x --colour", "unrecognized arguments: --colour"),
        ("train --data=drawn --out=x --epochs=0", "--epochs: 0 is below 1"),
        ("train --data=drawn --out=x --epochs=-1", "--epochs: -1 is below 1"),
        ("train --data=drawn --out=x --steps=0", "--steps: 0 is below 1"),
        ("train --data=drawn --out=x --batch-size=0", "--batch-size: 0 is below 1"),
        ("train --data=drawn --out=x --base-filters=0", "--base-filters: 0 is below 1"),
        ("train --data=drawn --out=x --z-dim=0", "--z-dim: 0 is below 1"),
        ("train --data=drawn --out=x --save-every-epochs=0", "--save-every-epochs: 0 is below 1"),
        ("train --data=drawn --out=x --sample-every-steps=0", "--sample-every-steps: 0 is below 1"),
        ("train --data=drawn --out=x --drawn-count=0", "--drawn-count: 0 is below 1"),
        ("train --data=drawn --out=x --size=33", "--size: 33 is not a multiple of 16 from 32 up"),
        ("train --data=drawn --out=x --size=16", "--size: 16 is not a multiple of 16 from 32 up"),
        ("train --data=drawn --out=x --mode=CMYK", "--mode: invalid choice: 'CMYK'"),
        ("train --data=drawn --out=x --learning-rate-D=0", "--learning-rate-D: 0 must be above 0"),
        ("train --data=drawn --out=x --learning-rate-G=inf", "--learning-rate-G: inf must be above 0"),
        ("train --data=drawn --out=x --learning-rate-G=nan", "--learning-rate-G: nan must be above 0"),
        ("train --data=drawn --out=x --beta1=1", "--beta1: 1 must be at least 0 and below 1"),
        ("train --data=drawn --out=x --alpha=-0.1", "--alpha: -0.1 must be at least 0 and below 1"),
        ("train --data=drawn --out=x --smooth=1.5", "--smooth: 1.5 must be at least 0 and below 1"),
        (
            "train --data=drawn --out=x --average-decay=1.5",
            "--average-decay: 1.5 must be at least 0 and below 1",
        ),
        ("train --data=drawn --out=x --augment=color,sepia", "--augment: 'sepia' is not one of color, trans"),
        (
            "train --data=drawn --out=x --augment-target=1",
            "--augment-target: 1 must be at least 0 and below 1",
        ),
        (
            "train --data=drawn --out=x --augment-target=-0.1",
            "--augment-target: -0.1 must be at least 0 and below 1",
        ),
        ("train --data=drawn --out=x --z=cauchy", "--z: invalid choice: 'cauchy'"),
        ("train --data=drawn --out=x --recipe=best", "--recipe: invalid choice: 'best'"),
        ("sample --count=0", "--count: 0 is below 1"),
        ("sample --count=4 --grid=2x2", "--grid: not allowed with argument --count"),
        ("sample --grid=8", "--grid: '8' is not COLUMNSxROWS, such as 8x4"),
        ("sample --grid=0x4", "--grid: '0x4' is not COLUMNSxROWS, such as 8x4"),
        ("sample --grid=2x2 --out=cats", "--grid shapes a single picture"),
        ("sample --grid=2x2 --out=cats.gif --walk 0 1", "--grid shapes a single picture"),
        ("sample --truncate=0", "--truncate: 0 must be above 0"),
        ("sample --truncate=2", "--truncate: 2.0 is above 1, the limit of uniform latents"),
        ("sample --walk", "--walk: expected at least one argument"),
        ("sample --walk 3", "--walk: name at least two cats"),
        ("sample --walk 3 -1", "--walk: -1 is below 0"),
        ("sample --walk 3 64", "--walk: no cat 64 among 64, which are 0 to 63: raise --count"),
        ("sample --walk 5 0 --count=5", "--walk: no cat 5 among 5, which are 0 to 4"),
        ("sample --walk 0 1 --out=cats.png", "--out must end in .gif or .webp, not cats.png"),
        ("sample --walk 0 1 --out=cats", "--out must end in .gif or .webp, not cats"),
        ("sample --walk 0 1 --frames=0", "--frames: 0 is below 1"),
        ("sample --frames=3", "--frames needs --walk"),
        ("sample --pick 3 --count=9", "--count: not allowed with argument --pick"),
        ("sample --pick 3 --walk 0 1 --count=9", "not allowed with argument --pick"),
        ("sample --pick 0 --walk 0 0 --out=cats.gif", "--pick is for pictures"),
        ("sample --scale=0", "--scale: 0 is below 1"),
        ("sample --set=coat", "--set: 'coat' is not NAME=NUMBER, such as coat=1.5"),
        ("sample --set=coat=x", "--set: 'x' is not a number"),
        ("sample --set=coat=1 --set=coat=2", "--set: coat is given twice"),
        ("sample --directions=a.npz", "--directions needs --set"),
        ("sample --latents=a.npz", "--latents: a.npz does not end in .npy"),
        ("sample --save-latents=a", "--save-latents: a does not end in .npy"),
        (
            "sample --latents=a.npy --count=3",
            "--count is for random latents: it cannot be combined with --latents",
        ),
        ("sample --latents=a.npy --seed=0", "--seed is for random latents"),
        ("sample --latents=a.npy --truncate=1", "--truncate is for random latents"),
        ("download --out=data", "--out is for a URL"),
        ("download --sha256=12", "--sha256 is for a URL"),
        ("directions --out=a.npy", "--out: a.npy does not end in .npz"),
        ("directions --picture=a.npz", "--picture: a.npz is no picture's name"),
        ("export --to=onnx --out=cats", "--out must end in .onnx, not cats"),
        ("export --to=savedmodel --out=cats.onnx", "--to savedmodel writes a folder"),
        ("export --to=savedmodel --out=cats --half", "--half is for --to onnx"),
        ("export --to=page --out=cats.htm", "--to page: --out must end in .html, not cats.htm"),
        ("export --to=savedmodel --out=cats.html", "--to savedmodel writes a folder"),
        ("export --to=page --out=cats.html --half", "--half is for --to onnx"),
        ("export --to=onnx --out=cats.onnx --z=normal", "--z is for --to page"),
        ("export --to=savedmodel --out=cats --directions=a.npz", "--directions is for --to page"),
        *(
            (f"{command} --out=cats{ending}", f"no {ending} file can be written: end cats{ending} in .png")
            for command in ("sample", "draw", "train --data=drawn", "prepare photos")
            for ending in (".mp4", ".txt", ".npz", ".ico")
        ),
        ("train --data=drawn --out=cats.png", "--out: cats.png has a picture's suffix: give a folder"),
        *(
            (f"{command} --{name}=1{'0' * zeros}", "is above")
            for command, names in WHOLE_NUMBERS.items()
            for name in names
            for zeros in (20, 400)
        ),
        (
            "train --data=drawn --learning-rate-D=1e400",
            "--learning-rate-D: 1e400 must be above 0 and at most",
        ),
        ("sample --grid=99999x99999", "--grid: 99999x99999 is more than 1,000,000 pictures"),
        ("draw --out=x --count=-3", "--count: -3 is below 1"),
        ("draw --out=x --size=15", "--size: 15 is below 16"),
    ],
)
def test_wrong_usage_is_refused(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: catdcgan")
    assert message in err
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "option", ["--epochs=x", "--epochs=1.5", "--size=x", "--alpha=x", "--seed=1.5", "--learning-rate-D=x"]
)
def test_text_in_place_of_a_number_is_refused_in_the_readers_words(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data=drawn", "--out=x", option])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {option.split('=')[0]}: " in err
    assert "number" in err
    assert "invalid _" not in err, "the name of a function inside the program tells a reader nothing"


def test_printed_commands_say_how_the_model_was_trained() -> None:
    assert model_options() == []
    words = model_options("normal", 0.3, True)
    assert words == ["--z", "normal", "--alpha=0.3", "--half-range"]
    options = parser().parse_args(["sample", *words])
    assert (options.z, options.alpha, options.half_range) == ("normal", 0.3, True)


# What cannot be done: status 1, one line, nothing half-written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --data=nowhere --out=new", "nowhere: no such folder"),
        ("train --data=empty --out=new", "no images in empty"),
        ("train --data=broken --out=new --size=32", "none of the 1 images in broken can be read"),
        ("train --data=a-file --out=new", "a-file"),
        ("train --data=cats --out=cats", "into cats, the folder of its own pictures: choose another --out"),
        ("train --data=run/images --out=run --resume", "into run/images, the folder of its own pictures"),
        ("train --data=run --out=new", "run is a run's folder"),
        (
            "train --data=drawn --out=run",
            "already holds a trained model (model.ckpt-4): resume it, or choose",
        ),
        ("train --data=drawn --out=new --resume", "nothing to resume: no model.ckpt in"),
        ("train --data=drawn --out=run --resume --seed=5 --mode=L", "was started with image_mode RGB, now L"),
        ("train --data=drawn --out=a-file", "a-file"),
        ("train --data=drawn --out=new --augment-target=0.6", "--augment-target needs --augment"),
        ("sample --checkpoint=new/model.ckpt", "no checkpoint new/model.ckpt"),
        ("sample --checkpoint=run/model.ckpt", "no checkpoint run/model.ckpt"),
        ("sample --checkpoint=run/models/damaged", "damaged"),
        ("sample --checkpoint=run/models/truncated", "damaged"),
        ("sample --checkpoint=run/models/model.ckpt --count=1 --out=a-file", "a-file is a file: name"),
        ("sample --checkpoint=run/models/truncated --walk 0 1 --out=new/cats.gif", "damaged"),
        ("sample --checkpoint=run/models/model.ckpt --walk 0 1 --out=a-file/cats.gif", "a-file"),
        ("sample --checkpoint=run/models/model.ckpt --count=1 --out=a-file/cats.png", "a-file"),
        (
            "sample --checkpoint=run/models/model.ckpt --count=12 --out=cats",
            "cats already holds pictures up to number 12",
        ),
        ("sample --checkpoint=run --count=1 --out=folder.png", "folder.png is a folder: name a file"),
        (
            "sample --checkpoint=run --walk 0 1 --out=folder.png/cats.gif --save-latents=a-file/z.npy",
            "a-file",
        ),
        ("sample --checkpoint=run --latents=nowhere.npy", "nowhere.npy: no such file or folder"),
        ("sample --checkpoint=run --latents=cats.npy", "cats.npy is a folder: name a file"),
        ("sample --checkpoint=run --grid=512x1 --out=w.webp", "w.webp: 16384 x 32 pixels are too many"),
        ("sample --checkpoint=run --grid=1x2047 --out=w.jpg", "w.jpg: 32 x 65504 pixels are too many"),
        ("sample --checkpoint=run --grid=2048x1 --out=w.gif", "w.gif: 65536 x 32 pixels are too many"),
        ("sample --checkpoint=run --count=180000", "cats.png: a grid of 13600 x 13568 pixels is too large"),
        ("draw --count=99999 --out=new/cats.png", "cats.png: a grid of 40576 x 40448 pixels is too large"),
        ("train --out=run --resume --batch-size=4", "was started with batch_size 8, now 4"),
        ("train --out=old --resume", "old has no record of where its pictures are: name their folder with"),
        (
            "train --out=moved --resume",
            "were in /no/cats, which no longer exists: give their folder with --data",
        ),
        ("train --out=torn --resume", "torn/run.json is damaged: remove it"),
        ("train --data=loop --out=new", "loop: no such folder"),
        ("train --data=cats --out=loop", "loop is a link that leads nowhere: name a folder"),
        ("draw --count=1 --size=32 --out=loop/cats.png", "loop is a link that leads nowhere"),
        ("prepare cats --out=loop", "loop is a link that leads nowhere"),
        ("draw --count=1 --size=32 --out=a-file", "a-file"),
        ("draw --count=1 --size=32 --out=a-file/cats.png", "a-file"),
        ("draw --count=1 --size=32 --out=folder.png", "folder.png is a folder: name a file"),
        ("prepare cats --out=a-file", "a-file is a file: name a folder"),
        ("download https://127.0.0.1/cats.zip --out=a-file", "a-file is a file: name a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    arguments: str,
    message: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = (trained / "run.json").read_text()
    pictures = '"data_source": "drawn"'
    assert pictures in record
    moved = record.replace(pictures, '"data_source": "/no/cats"')
    old = record.replace(pictures, '"of_another_version": 1')
    for name, text in {"run": record, "moved": moved, "old": old, "torn": record[:-9]}.items():
        shutil.copytree(trained, tmp_path / name)
        (tmp_path / name / "run.json").write_text(text)
    models = tmp_path / "run" / "models"
    ending = ".data-00000-of-00001"
    for name in ("damaged", "truncated"):
        shutil.copy(models / "model.ckpt.index", models / f"{name}.index")
        shutil.copy(models / f"model.ckpt{ending}", models / f"{name}{ending}")
    weights = bytearray((models / f"damaged{ending}").read_bytes())
    weights[len(weights) // 2] ^= 0xFF
    (models / f"damaged{ending}").write_bytes(weights)
    os.truncate(models / f"truncated{ending}", 1000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cat.png").write_text("no picture")
    (tmp_path / "a-file").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "cats.npy").mkdir()
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "cat_00012.png").write_text("of an earlier call")
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)

    words = arguments.split()
    if words[0] == "train":
        words += [option for option in TINY if not any(option.split("=")[0] in word for word in words)]
    assert main(words) == 1  # an exception would be a traceback
    captured = capsys.readouterr()
    lines = captured.err.split("\r")[-1].strip().splitlines()
    assert lines[-1].startswith("catdcgan: ")
    assert message in lines[-1]
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "draw --count=1 --size=8 --out=cats.png",
        f"draw --count=1 --size=32 --out={300 * 'x'}.txt",
        "draw --count=1 --size=32 --seed=-1 --out=cats.png",
        "train --data=drawn --out=new --size=32 --seed=-1",
        "sample --checkpoint=model.ckpt --count=1 --seed=-1",
    ],
)
def test_values_that_the_program_cannot_use_are_no_traceback(
    arguments: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in (trained / "models").glob("model.ckpt.*"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    with pytest.raises(SystemExit) as ended:
        sys.exit(main(arguments.split()))
    assert ended.value.code in (1, 2)
    assert "catdcgan" in capsys.readouterr().err
    assert files(tmp_path) == before


# Streams


@pytest.mark.slow
def test_training_with_stderr_closed_makes_all_it_should_and_says_nothing_on_stdout_instead(
    tmp_path: Path,
) -> None:
    arguments = ["train", "--data=drawn", f"--out={tmp_path}", "--steps=1", *TINY]
    closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command(*arguments)]
    done = subprocess.run(closed, env=environment(), stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Training is done. See ")
    assert len(read_losses(tmp_path / "history.jsonl")) == 1  # no log line of TensorFlow's has got into it
    assert (tmp_path / "models" / "model.ckpt.index").exists()


def test_errors_without_a_stderr_have_their_status_and_do_not_go_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["prepare", "nowhere", "--out=faces"]) == 1
    with pytest.raises(SystemExit) as wrong_usage:
        main(["nonsense"])
    assert wrong_usage.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_name_that_cannot_be_printed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"stdout": BytesIO(), "stderr": BytesIO()}
    for name, buffer in written.items():
        monkeypatch.setattr(sys, name, TextIOWrapper(buffer, encoding="cp1252", write_through=True))
    out = tmp_path / "кот.png"
    assert main(["draw", "--count=1", "--size=32", f"--out={out}"]) == 0
    assert out.is_file()
    assert main(["prepare", str(tmp_path / "кот"), f"--out={tmp_path / 'faces'}"]) == 1
    for name, said in (("stdout", "1 cat in "), ("stderr", "catdcgan: ")):
        lines = written[name].getvalue().decode("cp1252").splitlines()
        assert any(line.startswith(said) and r"\u043a\u043e\u0442" in line for line in lines)


# Interrupted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(signal.SIGINT, 130, "catdcgan: interrupted"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_training_saves_and_goes_on(
    number: int, status: int, message: str, tmp_path: Path
) -> None:
    run = tmp_path / "my run"
    arguments = ["train", "--data=drawn", f"--out={run}", "--epochs=100000", *TINY]
    history = run / "history.jsonl"
    with (tmp_path / "stdout").open("w") as stdout, (tmp_path / "stderr").open("w") as stderr:
        before = signal.signal(number, signal.default_int_handler)  # it inherits what the tests ignore
        program = subprocess.Popen(command(*arguments), env=environment(), stdout=stdout, stderr=stderr)
        signal.signal(number, before)
        try:
            give_up = time.monotonic() + 120
            while not (history.exists() and history.read_text().count("\n") >= 3):
                assert program.poll() is None, (tmp_path / "stderr").read_text()
                assert time.monotonic() < give_up, "it does not come to train"
                time.sleep(0.05)
            program.send_signal(number)
            assert program.wait(timeout=120) == status
        finally:
            program.kill()
            program.wait()
    err = (tmp_path / "stderr").read_text()
    assert message in err
    assert "Traceback" not in err
    steps = len(read_losses(history))
    out = (tmp_path / "stdout").read_text()
    assert f"Interrupted after step {steps}. Saved in {run / 'models'}" in out
    assert {file.name for file in (run / "models").iterdir()} == {
        *(".lock", ".lock-holder"),
        *(f"model.ckpt{n}{e}" for n in ("", "-0", f"-{steps}") for e in (".index", ".data-00000-of-00001")),
    }
    words = shlex.split(out.partition("Continue with: ")[2])
    assert words == ["catdcgan", "train", "--resume", f"--out={run}"]
    assert main([*words[1:], f"--steps={steps + 2}"]) == 0
    assert len(read_losses(history)) == steps + 2
