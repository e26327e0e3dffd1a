"""Every setting stands in one list: the command line, run.json and a resume must all read it, and agree."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields, make_dataclass
from pathlib import Path

import pytest

from catdcgan.cli import main
from catdcgan.settings import (
    LARGEST_SEED,
    NO_LIMIT,
    RECIPES,
    Settings,
    add_settings,
    fraction,
    from_record,
    recipe_options,
    setting,
    to_record,
)

UNUSUAL = Settings(
    data_source="cats",
    epoch_count=None,
    step_count=9,
    seed=LARGEST_SEED,
    augment=("color", "cutout"),
    learning_rate_D=1e-7,
    image_mode="L",
    xla=True,
)


@pytest.mark.parametrize("settings", [Settings(), UNUSUAL, Settings(**RECIPES["better"])])
def test_settings_are_the_same_after_a_way_through_run_json(settings: Settings) -> None:
    record = to_record(settings)
    assert list(record) == [item.name for item in fields(Settings)]
    assert Settings(**from_record(json.loads(json.dumps(record)))) == settings


def test_a_run_without_a_limit_of_epochs_says_so_in_words() -> None:
    assert to_record(UNUSUAL)["epoch_count"] == NO_LIMIT
    assert from_record({"epoch_count": NO_LIMIT, "step_count": None}) == {
        "epoch_count": None,
        "step_count": None,
    }


def test_a_record_of_another_version_is_read_for_what_it_holds() -> None:
    assert from_record({"seed": 3, "augment": ["color"]}) == {"seed": 3, "augment": ("color",)}


@pytest.mark.parametrize("name", RECIPES)
def test_the_options_of_a_recipe_typed_by_hand_give_its_settings(name: str) -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser, {"epoch_count": RECIPES[name].get("epoch_count", 215)})
    typed = recipe_options(name).replace(f"--epochs ({NO_LIMIT})", "").split()
    assert vars(parser.parse_args(typed)) == asdict(Settings(**RECIPES[name]))
    assert ("epoch_count" in RECIPES[name]) == (f"--epochs ({NO_LIMIT})" in recipe_options(name))


@pytest.mark.slow
def test_a_field_added_to_the_list_reaches_the_command_line_run_json_and_the_comparison_at_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = ("mixup", "float", setting(0.0, "--mixup", fraction, "how much of one picture goes into another"))
    more = make_dataclass("Settings", [added], bases=(Settings,), frozen=True, kw_only=True)
    monkeypatch.setattr("catdcgan.settings.Settings", more)
    command = ["train", f"--out={tmp_path}", "--quiet"]
    tiny = ["--data=drawn", "--drawn-count=4", "--size=32", "--base-filters=2", "--z-dim=4"]
    assert main([*command, *tiny, "--steps=1", "--mixup=0.5"]) == 0
    assert main([*command, "--resume", "--steps=2"]) == 0
    assert main([*command, "--resume", "--mixup=0.25"]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["options"]["mixup"] == 0.25
    changed = [start["changed"] for start in record["starts"]]
    assert changed == [{}, {"step_count": [1, 2]}, {"mixup": [0.5, 0.25]}]
