"""The file of losses: exact numbers, and no step twice after a break."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catdcgan import read_losses
from catdcgan.errors import TrainingError
from catdcgan.run.folder import HISTORY_NAME
from catdcgan.run.history import checked_figures, read_history, rewind_history
from catdcgan.settings import PROBABILITY


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Five steps of two epochs, as training writes them."""
    file = tmp_path / HISTORY_NAME
    records = [
        {"step": step, "epoch": 1 + step // 4, "d_loss": 1 / step, "g_loss": step / 7} for step in range(1, 6)
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def test_a_run_numbers_its_steps_and_epochs_from_1(run: Path) -> None:
    records = read_history(run / "models" / HISTORY_NAME)
    assert [(record["step"], record["epoch"]) for record in records] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 2),
        (5, 2),
        (6, 2),
    ]
    names = {"step", "epoch", "d_loss", "g_loss", "d_real", "d_fake", "images_per_second"}
    assert all(record.keys() == names for record in records)
    assert all(0 < record[name] < 1 for record in records for name in ("d_real", "d_fake"))
    assert all(record["images_per_second"] > 0 for record in records)


def test_losses_are_read_to_the_last_bit(history: Path) -> None:
    assert read_losses(history) == [(1 / step, step / 7) for step in range(1, 6)]
    assert read_losses(str(history)) == read_losses(history)


def test_a_loss_that_is_no_number_can_be_read_too(history: Path) -> None:
    """A run that diverged must still show where."""
    history.write_text(json.dumps({"step": 1, "epoch": 1, "d_loss": float("inf"), "g_loss": 0.5}) + "\n")
    assert read_losses(history) == [(float("inf"), 0.5)]


def test_rewinding_keeps_the_first_steps_byte_for_byte(history: Path) -> None:
    lines = history.read_text().splitlines(keepends=True)
    rewind_history(history, 3)
    assert history.read_text() == "".join(lines[:3])


def test_rewinding_cuts_a_half_written_line_so_that_the_file_can_be_read_and_added_to(history: Path) -> None:
    whole = history.read_text()
    with history.open("a") as file:
        file.write('{"step": 6, "epo')
    with pytest.warns(UserWarning, match="left out 1 lines that are not records"):
        assert len(read_history(history)) == 5
    rewind_history(history, 5)
    assert history.read_text() == whole


def test_rewinding_to_0_empties_what_another_run_left(history: Path) -> None:
    rewind_history(history, 0)
    assert read_history(history) == []


def test_rewinding_makes_the_folder_and_an_empty_file_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "first" / HISTORY_NAME
    rewind_history(file, 0)
    assert read_history(file) == []


def test_steps_that_are_missing_are_said_and_never_counted_for_later_ones(history: Path) -> None:
    lines = history.read_text().splitlines(keepends=True)
    history.write_text(lines[0] + lines[3] + lines[4])
    with pytest.warns(UserWarning, match=r"holds 2 of the run's 4 steps: the rest is lost"):
        rewind_history(history, 4)
    assert history.read_text() == lines[0] + lines[3]


def test_rewinding_leaves_no_other_file(history: Path) -> None:
    rewind_history(history, 2)
    assert list(history.parent.iterdir()) == [history]


def test_a_missing_history_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_losses(tmp_path / HISTORY_NAME)


@pytest.mark.parametrize("half", [0.5, np.float32(0.5), np.array(0.5, np.float16), Fraction(1, 2)])
def test_a_figure_is_any_real_number(half: Any) -> None:
    assert json.dumps(checked_figures(7, {"beauty": half})) == '{"beauty": 0.5}'


@pytest.mark.parametrize("figure", [None, "0.5", 0.5j, [0.5], np.array([0.5]), np.array(0.5j)])
def test_a_figure_that_is_no_real_number_is_refused_by_name(figure: Any) -> None:
    with pytest.raises(TrainingError, match=r'in step 7 evaluate gave "beauty" as \w+, which is not a real'):
        checked_figures(7, {"beauty": figure})


@pytest.mark.parametrize(
    "name", ["step", "epoch", "d_loss", "images_per_second", PROBABILITY, "loss/generator", 5]
)
def test_a_figure_cannot_stand_in_for_one_of_the_historys_own(name: Any) -> None:
    with pytest.raises(TrainingError, match=f"in step 7 evaluate gave a figure .*{name}"):
        checked_figures(7, {name: 0.5})
