"""Only one program trains in a folder, and the folder says truly what its run was made with."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catdcgan.errors import InputError, RunError
from catdcgan.run.folder import lock, newest_run, next_run

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


# --- numbered runs -----------------------------------------------------------------------------------------


def test_runs_are_numbered_from_1_and_made(tmp_path: Path) -> None:
    parent = tmp_path / "not" / "yet"
    assert [next_run(parent) for _ in range(2)] == [parent / "001", parent / "002"]
    assert all(folder.is_dir() for folder in (parent / "001", parent / "002"))
    assert newest_run(parent) == parent / "002"
    (parent / "001" / "models").mkdir()
    (parent / "001" / "models" / "model.ckpt-0.index").touch()
    assert newest_run(parent) == parent / "001", "the other has nothing to resume"


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


def test_run_error_is_what_the_command_line_answers_with_one_line() -> None:
    assert issubclass(RunError, InputError)
