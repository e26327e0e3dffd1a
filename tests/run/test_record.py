"""run.json says truly what its run was made with, and what was changed at each start."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from catdcgan.errors import RunError
from catdcgan.run.folder import RUN_NAME
from catdcgan.run.record import changed_options, record_start
from catdcgan.settings import FIXED

OPTIONS = {
    "z_dim": 100,
    "base_filters": 16,
    "image_size": 128,
    "image_mode": "RGB",
    "batch_size": 64,
    "seed": 0,
    "alpha": 0.2,
    "z_distribution": "uniform",
    "average_decay": 0.999,
    "learning_rate_D": 5e-05,
    "flip": True,
    "step_count": None,
}
DATA = {"images": 4662, "shape": (128, 128, 3), "fingerprint": "3f2a"}


def read(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text())
    return record


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The record of a run that has been started."""
    file = tmp_path / RUN_NAME
    record_start(file, None, OPTIONS, DATA)
    return file


def test_a_fresh_start_writes_all_that_the_run_is_made_with(file: Path) -> None:
    import numpy as np
    import tensorflow as tf

    from catdcgan import __version__

    record = read(file)
    assert list(record) == ["options", "data", "versions", "starts"]
    assert record["options"] == OPTIONS
    assert record["data"] == {**DATA, "shape": [128, 128, 3]}
    assert record["versions"].items() >= {
        ("catdcgan", __version__),
        ("python", ".".join(map(str, sys.version_info[:3]))),
        ("tensorflow", tf.__version__),
        ("numpy", np.__version__),
        ("device", "GPU" if tf.config.list_physical_devices("GPU") else "CPU"),
    }
    (start,) = record["starts"]
    assert (start["step"], start["changed"]) == (0, {})
    written = datetime.fromisoformat(start["time"])
    assert written.tzinfo is not None  # it means the same on a computer in another zone
    assert abs((datetime.now(written.tzinfo) - written).total_seconds()) < 3600


def test_the_record_is_for_a_human_to_read(file: Path) -> None:
    assert '\n  "options": {\n    "z_dim": 100,\n' in file.read_text()


def test_resuming_with_the_same_settings_adds_a_start_alone(file: Path) -> None:
    before = read(file)
    record_start(file, 5516, OPTIONS, DATA)
    after = read(file)
    assert {**after, "starts": []} == {**before, "starts": []}
    assert after["starts"][:1] == before["starts"]
    assert [(start["step"], start["changed"]) for start in after["starts"]] == [(0, {}), (5516, {})]


def test_settings_that_may_change_are_recorded_each_time_they_do(file: Path) -> None:
    slow = {**OPTIONS, "learning_rate_D": 1e-05, "flip": False, "average_decay": 0.0, "step_count": 9000}
    record_start(file, 10, slow, DATA)
    record_start(file, 20, {**slow, "flip": True}, DATA)
    record = read(file)
    assert [start["changed"] for start in record["starts"]] == [
        {},
        {
            "average_decay": [0.999, 0.0],
            "learning_rate_D": [5e-05, 1e-05],
            "flip": [True, False],
            "step_count": [None, 9000],
        },
        {"flip": [False, True]},
    ]
    assert record["options"] == {**slow, "flip": True}


def test_another_version_of_a_library_is_recorded(file: Path) -> None:
    record = read(file)
    now = record["versions"]["tensorflow"]
    record["versions"]["tensorflow"] = "1.4.0"
    file.write_text(json.dumps(record))
    record_start(file, 10, OPTIONS, DATA)
    assert read(file)["starts"][-1]["changed"] == {"tensorflow": ["1.4.0", now]}
    assert read(file)["versions"]["tensorflow"] == now


OTHER = {
    "z_dim": 64,
    "base_filters": 32,
    "image_size": 64,
    "image_mode": "L",
    "batch_size": 32,
    "seed": 1,
    "alpha": 0.1,
    "z_distribution": "normal",
}


@pytest.mark.parametrize("name", OTHER)
def test_what_a_run_keeps_for_life_cannot_change(name: str, file: Path) -> None:
    before = file.read_bytes()
    for check in (changed_options, lambda *rest: record_start(rest[0], 10, *rest[1:])):
        with pytest.raises(RunError) as caught:
            check(file, {**OPTIONS, name: OTHER[name]}, DATA)
        assert str(caught.value) == (
            f"{file.parent} was started with {name} {OPTIONS[name]}, now {OTHER[name]}: "
            "resume with the old settings, or start a new run in another folder"
        )
    assert file.read_bytes() == before


def test_no_setting_is_kept_for_life_untested() -> None:
    assert set(OTHER) == set(FIXED)


def test_other_pictures_are_said_in_the_words_of_the_reader(file: Path) -> None:
    other = {"images": 40, "shape": (64, 64, 3), "fingerprint": "77b0"}
    with pytest.raises(RunError) as caught:
        changed_options(file, {**OPTIONS, "seed": 7, "flip": False}, other)
    assert str(caught.value) == (
        f"{file.parent} was started with seed 0, now 7; data images 4662, now 40; "
        "data shape 128 x 128 x 3, now 64 x 64 x 3; data fingerprint 3f2a, now 77b0: "
        "resume with the old settings, or start a new run in another folder"
    )


def test_comparing_tells_what_changed_and_writes_nothing(file: Path) -> None:
    before = file.read_bytes()
    assert changed_options(file, OPTIONS, DATA) == {}
    assert changed_options(file, {**OPTIONS, "flip": False}, DATA) == {"flip": [True, False]}
    assert file.read_bytes() == before


def test_what_another_version_of_the_program_knows_is_no_error(file: Path) -> None:
    options = {name: value for name, value in OPTIONS.items() if name not in ("seed", "flip")}
    data = {"images": 4662, "source": "cats"}
    expected = {"seed": [0, None], "flip": [True, None], "mixup": [None, 0.5]}
    assert changed_options(file, {**options, "mixup": 0.5}, data) == expected
    record_start(file, 10, {**options, "mixup": 0.5}, data)
    assert read(file)["starts"][-1]["changed"] == expected
    assert read(file)["data"] == data
    assert changed_options(file, OPTIONS, DATA) == {
        "seed": [None, 0],
        "flip": [None, True],
        "mixup": [0.5, None],
    }


def test_a_run_of_an_older_version_has_no_record_and_gets_one(tmp_path: Path) -> None:
    assert changed_options(tmp_path / RUN_NAME, OPTIONS, DATA) == {}
    record_start(tmp_path / RUN_NAME, 5516, OPTIONS, DATA)
    (start,) = read(tmp_path / RUN_NAME)["starts"]
    assert (start["step"], start["changed"]) == (5516, {})


def test_a_new_run_begins_the_record_anew(file: Path) -> None:
    """What was started there before was killed before its first checkpoint, or its record is damaged."""
    for old in (file.read_text(), "damaged"):
        file.write_text(old)
        record_start(file, None, {**OPTIONS, "seed": 1}, {**DATA, "images": 3})
        record = read(file)
        assert record["options"]["seed"] == 1
        assert record["data"]["images"] == 3
        assert [start["step"] for start in record["starts"]] == [0]


def test_a_run_that_goes_on_from_step_0_keeps_what_it_started_from(tmp_path: Path) -> None:
    file = tmp_path / RUN_NAME
    record_start(file, None, OPTIONS, DATA, origin={"fingerprint": "0123"})
    record_start(file, 0, {**OPTIONS, "learning_rate_D": 1e-3}, DATA)
    first, second = read(file)["starts"]
    assert first["from"] == {"fingerprint": "0123"}
    assert second["changed"] == {"learning_rate_D": [5e-5, 1e-3]}


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "binary", "list", "number", *("options", "data", "versions", "starts")]
)
def test_a_damaged_record_is_an_error_that_says_what_to_do(damage: str, file: Path) -> None:
    record = read(file)
    contents = {
        "cut": file.read_bytes()[:100],
        "empty": b"",
        "binary": b"\x89PNG\r\n\x1a\n\xff",
        "list": b"[1, 2]",
        "number": b"3",
    }
    if damage in record:
        contents[damage] = json.dumps({**record, damage: 3}).encode()
    file.write_bytes(contents[damage])
    for check in (changed_options, lambda *rest: record_start(rest[0], 10, *rest[1:])):
        with pytest.raises(RunError, match="is damaged: remove it") as caught:
            check(file, OPTIONS, DATA)
        assert str(file) in str(caught.value)
    assert file.read_bytes() == contents[damage]


def test_options_that_json_cannot_hold_leave_the_record_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    for step in (None, 10):
        with pytest.raises(TypeError, match="JSON"):
            record_start(file, step, {**OPTIONS, "get_batches": print}, DATA)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_record_that_cannot_be_written_stays_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def fill_the_disk(self: Path, text: str, *_: str) -> int:
        with self.open("w") as partial:
            partial.write(text[: len(text) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    with pytest.raises(OSError, match="no space left"):
        record_start(file, 10, OPTIONS, DATA)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
