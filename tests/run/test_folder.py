"""Only one program trains in a folder, and the folder says truly what its run was made with."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from catdcgan.errors import InputError, RunError
from catdcgan.run.folder import RUN_NAME, lock, newest_run, next_run
from catdcgan.run.record import changed_options, record_start
from catdcgan.settings import FIXED

# --- one program trains in a folder ------------------------------------------------------------------------

# Says "got" or what is wrong, and holds the lock until its standard input ends.
TRAINER = """
import sys
from pathlib import Path
from catdcgan.errors import RunError
from catdcgan.run.folder import lock
input()
try:
    with lock(Path(sys.argv[1])):
        print("got", flush=True)
        {then}
        sys.stdin.read()
except RunError as error:
    print(error, flush=True)
"""

Trainer = subprocess.Popen[str]
StartTrainer = Callable[..., Trainer]


@pytest.fixture
def start_trainer() -> Iterator[StartTrainer]:
    """Start another program that waits for a line and then takes the lock of a folder."""
    started: list[Trainer] = []

    def start(folder: Path, then: str = "pass") -> Trainer:
        program = [sys.executable, "-c", TRAINER.format(then=then), str(folder)]
        started.append(subprocess.Popen(program, stdin=-1, stdout=-1, text=True))
        return started[-1]

    yield start
    for trainer in started:
        trainer.kill()
        trainer.communicate()


def go(*trainers: Trainer) -> list[str]:
    """Let them all try at the same time; returns what each says."""
    for trainer in trainers:
        assert trainer.stdin
        trainer.stdin.write("\n")
    for trainer in trainers:
        assert trainer.stdin
        trainer.stdin.flush()
    return [trainer.stdout.readline().strip() for trainer in trainers if trainer.stdout]


def kill(trainer: Trainer) -> None:
    trainer.kill()
    trainer.wait()


def test_a_second_trainer_is_told_who_is_at_work(tmp_path: Path, start_trainer: StartTrainer) -> None:
    folder = tmp_path / "runs" / "x"  # not yet there
    first = start_trainer(folder)
    assert go(first) == ["got"]
    expected = (
        f"{folder} is in use by process {first.pid} (on {socket.gethostname()}): "
        "wait for it, stop it, or choose another folder"
    )
    for _ in range(2):  # being refused changes nothing
        with pytest.raises(RunError) as caught, lock(folder):
            pass
        assert str(caught.value) == expected


def test_of_many_trainers_at_the_same_instant_one_wins(tmp_path: Path, start_trainer: StartTrainer) -> None:
    said = go(*(start_trainer(tmp_path / "x") for _ in range(6)))
    assert said.count("got") == 1
    assert sum("is in use by" in line for line in said) == 5


def test_a_killed_trainer_leaves_no_lock(tmp_path: Path, start_trainer: StartTrainer) -> None:
    first = start_trainer(tmp_path)
    go(first)
    kill(first)
    with lock(tmp_path):
        pass


def test_a_dead_holder_is_no_holder_though_its_number_is_in_use_again(tmp_path: Path) -> None:
    """As after a reboot: the files are there, and they name a process that runs, which has no lock."""
    with lock(tmp_path):
        left = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert any(str(os.getpid()).encode() in content for content in left.values())
    for file, content in left.items():
        file.write_bytes(content)
    with lock(tmp_path):
        pass


def test_a_new_holder_is_named_and_not_the_one_before(tmp_path: Path, start_trainer: StartTrainer) -> None:
    with lock(tmp_path):
        pass
    second = start_trainer(tmp_path)
    go(second)
    with pytest.raises(RunError, match=f"process {second.pid} "), lock(tmp_path):
        pass


@pytest.mark.parametrize("known", ["", None])
def test_a_holder_that_has_not_said_who_it_is_is_refused_all_the_same(
    known: str | None, tmp_path: Path
) -> None:
    with lock(tmp_path):
        (holder,) = (file for file in tmp_path.iterdir() if str(os.getpid()).encode() in file.read_bytes())
        holder.unlink()
        if known is not None:
            holder.write_text(known)
        with pytest.raises(RunError, match="in use by another program: wait"), lock(tmp_path):
            pass


def test_one_program_cannot_train_twice_in_a_folder(tmp_path: Path) -> None:
    refused = []

    def train() -> None:
        try:
            with lock(tmp_path):
                pass
        except RunError as error:
            refused.append(str(error))

    with lock(tmp_path):
        train()
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        assert len(refused) == 2
        assert all(f"process {os.getpid()}" in message for message in refused)
        train()  # and the refusals have not freed it
    assert len(refused) == 3
    train()
    assert len(refused) == 3


def test_folders_are_locked_one_by_one(tmp_path: Path) -> None:
    with lock(tmp_path / "a"), lock(tmp_path / "b"), lock(tmp_path):
        pass


def test_an_exception_frees_the_folder_and_comes_through(tmp_path: Path) -> None:
    """Any: the lock must not take a TimeoutError or an OSError of training for its own."""
    for kind in (KeyboardInterrupt, SystemExit, TimeoutError, OSError, ValueError):
        with pytest.raises(kind, match="of training"), lock(tmp_path):
            raise kind("of training")
    with lock(tmp_path):
        pass


def test_locking_leaves_hidden_files_alone(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == []


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix forks")


@needs_fork
def test_a_forked_child_does_not_keep_the_folder_of_a_killed_trainer(
    tmp_path: Path, start_trainer: StartTrainer
) -> None:
    then = "import os, time; os.fork() or (print(os.getpid(), flush=True), time.sleep(60))"
    first = start_trainer(tmp_path, then)
    go(first)
    assert first.stdout
    child = int(first.stdout.readline())
    kill(first)
    try:
        with lock(tmp_path):
            pass
    finally:
        os.kill(child, 9)


@needs_fork
def test_a_forked_child_that_ends_does_not_free_the_folder(
    tmp_path: Path, start_trainer: StartTrainer
) -> None:
    then = (
        "import os; child = os.fork(); child or sys.exit(); os.waitpid(child, 0); print('ended', flush=True)"
    )
    first = start_trainer(tmp_path, then)
    go(first)
    assert first.stdout
    assert first.stdout.readline() == "ended\n"
    with pytest.raises(RunError), lock(tmp_path):
        pass


def break_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.filterwarnings("ignore:flock not supported on this filesystem")
def test_a_file_system_without_locks_gets_a_lock_that_says_how_to_remove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_flock(monkeypatch, errno.ENOSYS)
    with lock(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()} ") as caught, lock(tmp_path):
            pass
        assert str(caught.value).endswith(f"if it died on another computer, remove {tmp_path / '.lock'}")
    with lock(tmp_path):
        pass


def test_a_drive_that_cannot_lock_is_an_error_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_flock(monkeypatch, errno.ENOLCK)
    with pytest.raises(RunError, match="cannot be locked") as caught, lock(tmp_path):
        pass
    assert str(tmp_path) in str(caught.value)
    assert os.strerror(errno.ENOLCK) in str(caught.value)


# --- what the folder says of its run -----------------------------------------------------------------------

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
    record_start(file, 0, OPTIONS, DATA)
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
            "resume with the old settings, or start anew in another folder"
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
        "resume with the old settings, or start anew in another folder"
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


def test_a_start_at_step_0_begins_the_record_anew(file: Path) -> None:
    """What was started there before was killed before its first checkpoint, or its record is damaged."""
    for old in (file.read_text(), "damaged"):
        file.write_text(old)
        record_start(file, 0, {**OPTIONS, "seed": 1}, {**DATA, "images": 3})
        record = read(file)
        assert record["options"]["seed"] == 1
        assert record["data"]["images"] == 3
        assert [start["step"] for start in record["starts"]] == [0]


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
    for step in (0, 10):
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


def test_run_error_is_what_the_command_line_answers_with_one_line() -> None:
    assert issubclass(RunError, InputError)


# --- numbered runs -----------------------------------------------------------------------------------------


def test_runs_are_numbered_from_1_and_made(tmp_path: Path) -> None:
    parent = tmp_path / "not" / "yet"
    assert [next_run(parent) for _ in range(2)] == [parent / "001", parent / "002"]
    assert all(folder.is_dir() for folder in (parent / "001", parent / "002"))
    assert newest_run(parent) == parent / "002"


def test_runs_are_in_the_folder_runs_if_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert next_run() == newest_run() == Path("runs/001")
    assert (tmp_path / "runs" / "001").is_dir()


def test_a_gap_is_not_filled_so_that_the_newest_run_has_the_highest_number(tmp_path: Path) -> None:
    for name in ("001", "007"):
        (tmp_path / name).mkdir()
    assert next_run(tmp_path) == tmp_path / "008"


def test_numbers_of_four_digits_follow_those_of_three(tmp_path: Path) -> None:
    (tmp_path / "999").mkdir()
    assert next_run(tmp_path) == tmp_path / "1000"
    assert next_run(tmp_path) == tmp_path / "1001"
    assert newest_run(tmp_path) == tmp_path / "1001"


def test_other_names_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "003").mkdir()
    for name in ("9", "42", "0077", "100-best", "v200", "300.old", "٠٠٩", ".500", "first"):
        (tmp_path / name).mkdir()
    (tmp_path / "800").touch()  # no folder
    assert newest_run(tmp_path) == tmp_path / "003"
    assert next_run(tmp_path) == tmp_path / "004"


def test_a_file_of_that_name_is_stepped_over(tmp_path: Path) -> None:
    (tmp_path / "001").touch()
    assert next_run(tmp_path) == tmp_path / "002"


def test_programs_that_ask_at_the_same_time_get_different_runs(tmp_path: Path) -> None:
    got: list[Path] = []
    begin = threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        got.extend(next_run(tmp_path) for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [tmp_path / f"{number:03}" for number in range(1, 81)]


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_no_run_is_an_error_that_names_the_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(RunError, match="no run in") as caught:
        newest_run(Path(folder))
    assert str(tmp_path / folder) in str(caught.value)
