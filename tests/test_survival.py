"""What a run survives: kill -9 at any moment, a full disk, a second trainer. Real processes, really killed.

The command line's training is run in children of one process that has loaded TensorFlow (`serve`).
"""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from pictures import files
from PIL import Image
from tiny_runs import Values, assert_same_run, grids, same

from catdcgan import training
from catdcgan.cli import main, parser
from catdcgan.graph import training_graph
from catdcgan.run.checkpoint import restore
from catdcgan.run.checkpoint_files import NAME, latest, numbered
from catdcgan.run.folder import HISTORY_NAME, RUN_NAME
from catdcgan.run.history import read_history
from catdcgan.settings import settings_from
from catdcgan.tf1 import tf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="forks a process that has loaded TensorFlow: safe on Linux alone"
    ),
]

# Two steps an epoch, and after each step a grid, after each epoch a checkpoint: something is always being
# written. Width 2 is the smallest at which the pictures change from step to step.
TINY = ["train", "--data=drawn", "--drawn-count=8", "--size=32", "--base-filters=2", "--batch-size=4"]
TINY += ["--z-dim=4", "--learning-rate-G=1e-3", "--save-every-epochs=1", "--sample-every-steps=1", "--quiet"]
TINY += ["--steps=100000", "--save-every-minutes=10"]  # else a resumed run keeps its last

# Calls into the operating system at which a trainer is killed, and at how many of them: always before the
# call, counted from the one that puts run.json in its place. An epoch replaces nine files or folders.
PLACES = {
    "replace": 11,
    "open": 3,
    "fsync": 4,
    "sendfile": 3,
    "write": 2,
    "mkdir": 2,
    "rmdir": 2,
    "unlink": 2,
}


# --- the process that trains -------------------------------------------------------------------------------


def serve() -> None:
    """Fork a child for each line on standard input, which trains as the line says; tell what becomes of it.

    Loading TensorFlow and making the graph take seconds, so that is done once, here. No session is made:
    its threads would be lost in the children.
    """
    graph = tf.Graph()
    with graph.as_default():
        net = training_graph(settings_from(vars(parser().parse_args(TINY))))
    vars(training)["training_graph"] = lambda _: net
    tf.Graph = lambda: graph
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # saves half a second a child
    tf.Session = functools.partial(tf.Session, config=config)

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            run_child(**job)
        say(pid=child)
        _, status = os.waitpid(child, 0)
        say(status=os.waitstatus_to_exitcode(status))


def say(**what: Any) -> None:
    os.write(REPLIES, json.dumps(what).encode() + b"\n")


def run_child(arguments: list[str], output: str, place: str, number: int, limit: int | None) -> None:
    """Train in this process, and end it; before the call `number` of that name, with kill -9."""
    began, counted = False, 0

    def watch(frame: FrameType, event: str, function: Any) -> None:
        nonlocal began, counted
        if event != "c_call" or frame.f_code.co_filename.startswith("<frozen importlib"):
            return
        owner = getattr(function, "__self__", None)  # of str.replace, for one, it is no module and no file
        if getattr(owner, "__name__", "") not in ("posix", "_io", "io") and not hasattr(owner, "fileno"):
            return
        if not began and function.__name__ == "replace":
            began = True
            say(began=True)
        if began and function.__name__ == place:
            counted += 1
            if counted == number:
                say(killed=place)
                os.kill(os.getpid(), signal.SIGKILL)
        if began and not place:
            sys.setprofile(None)

    status = 70
    try:
        signal.alarm(60)  # a child that hangs dies
        for stream in (1, 2):
            os.dup2(os.open(f"{output}.{stream}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), stream)
        if limit is not None:  # the nearest to a full disk that needs no rights: no file grows beyond it
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.setprofile(watch)
        status = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Ended(NamedTuple):
    """A child that is no more."""

    status: int  # the exit status, or minus the signal
    killed: str  # the call that it did not come to
    stderr: str


class Child:
    """One that runs."""

    def __init__(self, server: subprocess.Popen[str], output: Path) -> None:
        self._server, self._output = server, output
        self.pid = int(self._hear()["pid"])
        self.heard: dict[str, Any] = self._hear()
        self.began = "began" in self.heard

    def _hear(self) -> dict[str, Any]:
        assert self._server.stdout
        return dict(json.loads(self._server.stdout.readline()))

    def wait(self) -> Ended:
        while "status" not in self.heard:
            self.heard |= self._hear()
        error = self._output.with_name(f"{self._output.name}.2").read_text()
        return Ended(self.heard["status"], self.heard.get("killed", ""), error)

    def kill(self) -> Ended:
        """As from outside. Until it is waited for, nobody else gets its number."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()


class Trainer:
    """Starts `catdcgan train` in processes of their own, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._output = folder / "output"
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self.server = subprocess.Popen(
            [sys.executable, __file__, str(folder / "warm")],
            stdin=-1,
            stdout=-1,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )

    def start(self, out: Path, *more: str, at: tuple[str, int] = ("", 0), limit: int | None = None) -> Child:
        """Train in a folder; resume if there is a checkpoint. Returns when training begins, or has failed."""
        arguments = [*TINY, f"--out={out}", *more]
        if latest(out / "models"):
            arguments.append("--resume")
        job = {"arguments": arguments, "output": str(self._output), "place": at[0], "number": at[1]}
        assert self.server.stdin
        self.server.stdin.write(json.dumps(job | {"limit": limit}) + "\n")
        self.server.stdin.flush()
        return Child(self.server, self._output)

    def run(self, out: Path, *more: str, limit: int | None = None) -> Ended:
        return self.start(out, *more, limit=limit).wait()


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path_factory.mktemp("trainer"))
    yield trainer
    trainer.server.kill()
    trainer.server.communicate()


@pytest.fixture(scope="module")
def trained(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs."""
    out = tmp_path_factory.mktemp("trained") / "run"
    ended = trainer.run(out, "--epochs=3")
    assert ended.status == 0, ended.stderr
    return out


# --- looking at a run --------------------------------------------------------------------------------------


class Loader:
    """Reads checkpoints whole, as the package itself does."""

    def __init__(self, example: Path) -> None:
        reader = tf.train.load_checkpoint(str(example))
        dtypes = reader.get_variable_to_dtype_map()
        with tf.Graph().as_default() as graph:
            self._variables = {
                name: tf.get_variable(name, shape, dtypes[name], tf.zeros_initializer())
                for name, shape in reader.get_variable_to_shape_map().items()
            }
            self._session = tf.Session(graph=graph)

    def read(self, checkpoint: Path) -> Values:
        """All values of a checkpoint; of ``model.ckpt`` those of the generator."""
        variables = self._variables
        if checkpoint.name == NAME:
            weights = [name for name in variables if name.startswith("generator/") and "Adam" not in name]
            variables = {name: variables[name] for name in weights}
        restore(self._session, checkpoint, list(variables.values()))
        return dict(self._session.run(variables))


@pytest.fixture(scope="module")
def loader(trained: Path) -> Loader:
    return Loader(trained / "models" / f"{NAME}-6")


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if not path.name.startswith(".lock")]


def assert_survived(out: Path, loader: Loader) -> None:
    """What holds at any moment, even with nothing tidied up since the kill."""
    models = out / "models"
    good = numbered(models)
    states = [loader.read(checkpoint) for checkpoint in good]
    for checkpoint, state in zip(good, states, strict=True):
        assert state["global_step"] == step_of(checkpoint)
    if (models / f"{NAME}.index").exists():
        generator = loader.read(models / NAME)
        assert any(same(generator, {name: state[name] for name in generator}) for state in states)
    history = out / HISTORY_NAME
    *lines, _ = history.read_bytes().split(b"\n") if history.exists() else [b""]
    assert [json.loads(line)["step"] for line in lines] == [*range(1, len(lines) + 1)]
    if good:
        assert len(lines) >= step_of(good[-1]), "the history lags behind the checkpoint"
        assert json.loads((out / RUN_NAME).read_text())["starts"]
    for grid in sorted(out.glob("images/step_*.png"))[-2:]:
        with Image.open(grid) as picture:
            picture.load()


def assert_recovered(out: Path, unbroken: Path, loader: Loader) -> None:
    """All is as in a run that nothing ever happened to, and nothing is left of what did."""
    assert_same_run(out, unbroken, loader.read)
    assert grids(out).keys() == grids(unbroken).keys()
    assert len(set(grids(out).values())) > 1
    assert not temporaries(out)


# --- kill -9 -----------------------------------------------------------------------------------------------


def test_a_run_killed_at_forty_random_moments_ends_with_the_bits_of_an_unbroken_one(
    trainer: Trainer, loader: Loader, tmp_path: Path
) -> None:
    chance = random.Random(0)
    # In a run that takes no step, the numbered checkpoint is the one that replaces itself.
    no_step = "--steps=1"
    rounds: list[tuple[str, int, str]] = [("replace", number, no_step) for number in (3, 4, 5)]
    rounds += [("replace", number, "") for number in range(1, PLACES["replace"] + 1)]
    for place, count in PLACES.items():
        if place != "replace":
            rounds += [(place, chance.randint(1, 12), "") for _ in range(count)]
    # Only the clock gets into TensorFlow's own code. The option saves after each step, so in mid-epoch too.
    rounds += [("", 0, "--save-every-minutes=0.00001") for _ in range(12)]
    chance.shuffle(rounds)

    out = tmp_path / "run"
    starts, places = set(), []
    for place, number, option in rounds:
        child = trainer.start(out, "--epochs=100000", *filter(None, [option]), at=(place, number))
        if place:
            ended = child.wait()
        else:
            assert child.began, child.wait().stderr
            time.sleep(chance.uniform(0, 0.4))
            ended = child.kill()
        assert ended.status == -signal.SIGKILL, ended.stderr
        places.append(ended.killed)
        assert_survived(out, loader)
        if start := latest(out / "models"):
            starts.add(step_of(start))
    assert len(places) >= 40
    assert {*places} == {"", *PLACES}
    assert len(starts) > 8, "the run gets on between the kills"

    epochs = f"--epochs={max(starts) // 2 + 2}"
    for folder in (out, tmp_path / "unbroken"):
        ended = trainer.run(folder, epochs)
        assert ended.status == 0, ended.stderr
    assert_recovered(out, tmp_path / "unbroken", loader)
    recorded = [start["step"] for start in json.loads((out / RUN_NAME).read_text())["starts"]]
    assert recorded == sorted(recorded)
    assert starts <= {*recorded}


# --- a full disk -------------------------------------------------------------------------------------------


def grow_history(out: Path) -> int:
    """Make the history the biggest of all files, and return a limit that its next line exceeds."""
    history = out / HISTORY_NAME
    first, rest = history.read_text().split("\n", 1)
    history.write_text(f"{first}{' ' * 2_000_000}\n{rest}")
    return history.stat().st_size + 100  # half a line


def less_than_a_checkpoint(out: Path) -> int:
    """What every file fits in but a numbered checkpoint."""
    return (out / "models" / f"{NAME}-6.data-00000-of-00001").stat().st_size - 1


@pytest.mark.parametrize("room", [less_than_a_checkpoint, grow_history], ids=["a checkpoint", "the history"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room_again(
    room: Any, trained: Path, trainer: Trainer, loader: Loader, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    limit = room(out)
    before = files(out / "models")
    ended = trainer.run(out, "--epochs=5", limit=limit)
    assert ended.status == 1
    assert ended.stderr.startswith("catdcgan: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"the last good checkpoint is {out / 'models' / NAME}-6" in ended.stderr
    assert "is the disk full?" in ended.stderr
    assert files(out / "models") == before
    assert not temporaries(out)

    unbroken = tmp_path / "unbroken"
    for folder in (out, unbroken):
        ended = trainer.run(folder, "--epochs=5")
        assert ended.status == 0, ended.stderr
    assert_recovered(out, unbroken, loader)


def test_a_disk_that_is_full_from_the_start_is_one_line_and_no_obstacle_later(
    trainer: Trainer, tmp_path: Path
) -> None:
    ended = trainer.run(tmp_path, "--epochs=1", limit=10_000)
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert f"there is no checkpoint in {tmp_path / 'models'}" in ended.stderr
    assert not temporaries(tmp_path)
    ended = trainer.run(tmp_path, "--epochs=1")
    assert ended.status == 0, ended.stderr
    assert len(read_history(tmp_path / HISTORY_NAME)) == 2


# --- a second trainer --------------------------------------------------------------------------------------


def test_a_second_trainer_is_refused_and_the_first_goes_on_until_it_is_killed(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def steps() -> int:
        history = tmp_path / HISTORY_NAME
        return history.read_bytes().count(b"\n") if history.exists() else 0

    def wait_for_steps(count: int) -> None:
        give_up = time.monotonic() + 60
        while steps() < count:
            assert time.monotonic() < give_up, "it does not get on"
            time.sleep(0.01)

    first = trainer.start(tmp_path, "--epochs=100000")
    assert first.began, first.wait().stderr
    try:
        wait_for_steps(2)
        assert main([*TINY, f"--out={tmp_path}", "--resume"]) == 1
        error = capsys.readouterr().err
        assert f"{tmp_path / 'models'} is in use by process {first.pid} " in error
        assert error.count("\n") == 1
        wait_for_steps(steps() + 4)
    finally:
        ended = first.kill()
    assert ended.status == -signal.SIGKILL, ended.stderr
    assert trainer.run(tmp_path, f"--steps={steps() + 1}", "--epochs=100000").status == 0


if __name__ == "__main__":
    REPLIES = os.dup(1)
    os.dup2(2, 1)  # what the program prints is no reply
    serve()
