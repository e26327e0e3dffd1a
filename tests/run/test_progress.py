"""What is shown of training's progress: a bar on a screen, a line a minute in a log, or nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tiny_runs import train_tiny

from catdcgan import Dataset, draw_cats, image_grid, random_latents, sample, save_image
from catdcgan.data.download import download_photos
from catdcgan.data.prepare import prepare_photos
from catdcgan.run.progress import Progress, Speed, human_time

Clock = Callable[[float], None]


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put the clock of the progress forward by some seconds."""
    now = [1000.0]
    monkeypatch.setattr("catdcgan.run.progress.perf_counter", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (45.4, "45 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (12 * 60 + 20, "12 min"),
        (59 * 60, "59 min"),
        (59.7 * 60, "1 h 0 min"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (23 * 3600 + 59 * 60, "23 h 59 min"),
        (23 * 3600 + 59.7 * 60, "1 d 0 h"),
        (52 * 3600, "2 d 4 h"),
    ],
)
def test_a_length_of_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


NEVER = float("inf")


def test_a_log_gets_a_line_at_once_and_then_one_a_minute_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], sleep: Clock
) -> None:
    shown, lines = [], []
    with Progress(0, 16 * 100, quiet=False) as progress:
        for step in range(1, 101):
            sleep(7)
            progress.update(16, f"step {step}", 7 / 16, NEVER)
            if line := capsys.readouterr().err:
                shown.append(step)
                lines.append(line)
    # A minute of 7 s steps is over after 9 of them.
    assert shown == [1, 10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100]
    assert [line.split(", ")[1] for line in lines] == [f"step {step}" for step in shown]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)


@pytest.mark.parametrize(
    ("done", "seconds_to_save", "around"),
    [
        (0, NEVER, ("1 min left", "2.0 images/s")),
        (0, 65.0, ("1 min left", "2.0 images/s, saves in 1 min")),
        (0, 72.0, ("1 min left", "2.0 images/s")),  # the save at the end is no other one
        (0, 30.0, ("1 min left", "2.0 images/s, saves in 30 s")),
        (0, -3.0, ("1 min left", "2.0 images/s, saves in 0 s")),  # overdue by a part of a step
        (8 * 16, NEVER, ("8 s left", "2.0 images/s")),  # a resumed run has only the rest to do
    ],
)
def test_a_line_says_end_losses_speed_and_the_next_save_if_that_comes_first(
    done: int, seconds_to_save: float, around: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(done, 10 * 16, quiet=False) as progress:
        progress.update(16, "step 1/10, D 1.386", 0.5, seconds_to_save)
    assert capsys.readouterr().err == f"{around[0]}, step 1/10, D 1.386, {around[1]}\n"


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    "text", ["step 143000/143000, D 0.581, G 14.367", "epoch 1215/1215, step 133755, D 0.581, G 14.367"]
)
@pytest.mark.parametrize("columns", [80, 120])
def test_the_longest_line_fits_the_terminal_with_the_most_important_first(
    columns: int,
    text: str,
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", f"{columns}")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with Progress(0, 10**6) as progress:
        progress.update(16, text, 0.0877, 1000.0)
    line = capsys.readouterr().err.split("\r")[-1].rstrip()
    assert f"1 d 0 h left, {text}" in line
    assert len(line) < columns
    assert columns == 80 or line.endswith("11.4 images/s, saves in 17 min"), "there is room"


def test_a_change_of_speed_soon_shows_in_the_seconds_for_an_image(sleep: Clock) -> None:
    speed = Speed()
    sleep(100)  # the first step is slow
    assert speed.count(10) == 0.1
    assert speed.seconds_per_image == pytest.approx(10)
    for _ in range(50):
        sleep(1)
        assert speed.count(10) == 10
    assert speed.seconds_per_image == pytest.approx(0.1)
    sleep(11)
    speed.count(10)
    assert 0.1 < speed.seconds_per_image < 0.2


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_prints_nothing(
    terminal: bool, capsys: pytest.CaptureFixture[str], sleep: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with Progress(0, 32, quiet=True) as progress:
        for step in (1, 2):
            sleep(100)
            progress.update(16, f"step {step}", 6.25, 5.0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("where", ["terminal", "notebook"])
def test_a_terminal_and_a_notebook_get_a_bar(
    where: str, capsys: pytest.CaptureFixture[str], sleep: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "terminal":
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    else:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with Progress(64, 128, quiet=False) as progress:  # a resumed run
        for step in (5, 6, 7):
            sleep(100)
            progress.update(16, f"step {step}", 100 / 16, NEVER)
    shown = capsys.readouterr().err
    last = shown.split("\r")[-1]
    assert last.startswith(" 88%|")
    assert last.rstrip().endswith("| 2 min left, step 7, 0.2 images/s")
    assert shown.count("\n") == 1, "a bar is one line, which stays"


class OnlyWrite:
    """What a window may put in the place of stderr."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["none", "closed", "only write"])
def test_everything_works_without_a_whole_stderr(
    kind: str,
    cats: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr: Any = {"none": None, "closed": StringIO(), "only write": OnlyWrite()}[kind]
    if kind == "closed":
        stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    photos, faces = tmp_path / "photos", tmp_path / "faces"
    save_image(image_grid(draw_cats(1, 32, progress=True)), photos / "a.png")
    shutil.make_archive(str(photos), "zip", photos)
    download_photos((tmp_path / "photos.zip").as_uri(), tmp_path / "copy.zip")
    prepare_photos(tmp_path / "copy.zip", faces, 32)
    assert len(Dataset(faces, 32).images) == 1
    train_tiny(cats, tmp_path, step_count=1)
    sample(tmp_path / "models" / "model.ckpt", random_latents(1, 8))
    assert capsys.readouterr().out == ""
    assert kind != "only write" or "step 1/1, D" in stderr.text
