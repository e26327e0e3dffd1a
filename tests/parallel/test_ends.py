"""Workers that come late, are killed or frozen, or are stopped: none hangs, and none stays behind.

Real processes of the command line. Each test waits for what it expects, however long that takes here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_addresses

from catdcgan.cli import main
from catdcgan.run.checkpoint_files import last_step, numbered
from catdcgan.run.history import read_history

pytestmark = [
    pytest.mark.slow,
    pytest.mark.workers,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc"),
]

OPTIONS = "--data=drawn --drawn-count=37 --size=32 --base-filters=4 --batch-size=16 --quiet --step-limit=15"
FOREVER = 300  # seconds


class Run:
    """Processes that train in a folder."""

    def __init__(self, folder: Path, addresses: list[str]) -> None:
        self.folder, self.addresses = folder, addresses
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "catdcgan", "train", *OPTIONS.split(), f"--out={self.folder}"]
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def worker(self, index: int, *arguments: str) -> subprocess.Popen[str]:
        return self.start(f"--workers={','.join(self.addresses)}", f"--worker={index}", *arguments)

    def steps(self) -> int:
        history = self.folder / "history.jsonl"
        return history.read_bytes().count(b"\n") if history.exists() else 0

    def children(self) -> list[int]:
        """The workers that ``--devices`` has started for this folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_text().split("\0")
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            ours = f"--out={self.folder}" in arguments and any("--worker=" in text for text in arguments)
            if ours and state != "Z":
                found.append(int(process.name))
        return found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with free_addresses(2) as addresses:
        run = Run(tmp_path / "run", addresses)
        yield run
        for process in run.started:
            process.kill()
            process.communicate()
        for number in run.children():
            os.kill(number, signal.SIGKILL)


def wait_until(done: Callable[[], object]) -> None:
    end = time.monotonic() + FOREVER
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def error_of(process: subprocess.Popen[str]) -> str:
    """The one error of a process that ends with status 1."""
    _, text = process.communicate(timeout=FOREVER)
    assert process.returncode == 1, text
    lines = [line for line in text.splitlines() if not line.startswith("Waiting for worker")]
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_or_frozen_worker_ends_the_other_and_all_go_on_from_the_last_checkpoint(
    run: Run, lost: int, number: signal.Signals
) -> None:
    workers = [run.worker(index) for index in (0, 1)]
    wait_until(lambda: run.steps() > 3 or None not in [worker.poll() for worker in workers])
    workers[lost].send_signal(number)
    error = error_of(workers[1 - lost])
    gone = f"worker {lost} ({run.addresses[lost]}) ended"
    assert (gone if number == signal.SIGKILL else "a worker was silent for 15 s") in error
    assert "start all workers again with --resume" in error
    named = re.search(r"the last good checkpoint(?:, of worker 0,)? is (.+)$", error)
    assert named
    assert Path(named[1]) in numbered(run.folder / "models")
    workers[lost].kill()
    workers[lost].wait()
    last = last_step(run.folder / "models") + 2
    again = [run.worker(index, "--resume", f"--steps={last}") for index in (0, 1)]
    assert [worker.wait(FOREVER) for worker in again] == [0, 0]
    assert len(read_history(run.folder / "history.jsonl")) == last


@pytest.mark.parametrize("late", [0, 1])
def test_a_late_worker_is_waited_for(run: Run, late: int) -> None:
    early = run.worker(1 - late, "--steps=1")
    assert early.stderr
    assert early.stderr.readline() == f"Waiting for worker {late} ({run.addresses[late]}), 10 min at most\n"
    assert run.worker(late, "--steps=1").wait(FOREVER) == 0
    assert early.wait(FOREVER) == 0
    assert run.steps() == 1


def test_ctrl_c_ends_the_waiting(run: Run) -> None:
    worker = run.worker(1)
    assert worker.stderr
    worker.stderr.readline()
    worker.send_signal(signal.SIGINT)
    assert worker.wait(FOREVER) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_of_devices_save_and_end_with_the_one_that_started_them(
    run: Run, number: signal.Signals
) -> None:
    parent = run.start("--devices=2")
    wait_until(lambda: run.steps() or parent.poll() is not None)
    assert len(run.children()) == 2
    parent.send_signal(number)
    wait_until(lambda: parent.poll() is not None and not run.children())
    assert parent.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert numbered(run.folder / "models")[-1].name == f"model.ckpt-{run.steps()}"
    out, _ = parent.communicate()
    assert f"train --resume --out={run.folder}, and the same --devices or --workers\n" in out


@pytest.mark.parametrize("seconds", [1, 4])
def test_ctrl_c_before_the_processes_of_devices_train_is_no_traceback(run: Run, seconds: float) -> None:
    parent = run.start("--devices=2", "--epochs=100000")
    time.sleep(seconds)
    parent.send_signal(signal.SIGINT)
    _, text = parent.communicate(timeout=FOREVER)
    assert parent.returncode == 130
    assert "Traceback" not in text
    assert not run.children()


def test_signals_that_the_program_ignores_stop_no_process_of_devices(run: Run) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; the program inherits it
    parent = run.start("--devices=2", "--epochs=100000")
    signal.signal(signal.SIGHUP, before)
    wait_until(lambda: run.steps() or parent.poll() is not None)
    for number in (parent.pid, *run.children()):
        os.kill(number, signal.SIGHUP)
    steps = run.steps()
    wait_until(lambda: run.steps() > steps + 2 or parent.poll() is not None)
    assert parent.poll() is None


def test_the_processes_of_devices_import_nothing_from_the_current_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tempfile.py").write_text("raise SystemExit('the wrong file')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    options = [*OPTIONS.split(), "--devices=2", "--steps=1", f"--out={run.folder}"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *options])
    assert ended.value.code == 0


@pytest.mark.parametrize("lost", [0, 1])
def test_the_processes_of_devices_end_if_one_of_them_is_killed(run: Run, lost: int) -> None:
    parent = run.start("--devices=2")
    wait_until(lambda: run.steps() or parent.poll() is not None)
    for number in run.children():
        if f"--worker={lost}" in Path(f"/proc/{number}/cmdline").read_text().split("\0"):
            os.kill(number, signal.SIGKILL)
    _, text = parent.communicate(timeout=FOREVER)
    assert parent.returncode == (137 if lost == 0 else 1)
    assert f"worker {lost} (127.0.0.1:" in text
    assert "the last good checkpoint" in text
    assert not run.children()
