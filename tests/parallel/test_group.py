"""Two workers train as one process would, agree at every stop, and write as one.

Both go through all scenarios one after the other (`scenarios`), so TensorFlow is loaded twice and not twenty
times. They run until they end: nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ports import free_addresses
from scenarios import ALL, IMAGES, RISE, SCENARIOS
from tiny_runs import Values, assert_same_run, read_checkpoint, same, train_tiny

from catdcgan import draw_cats
from catdcgan.run.checkpoint_files import numbered
from catdcgan.run.history import read_history
from catdcgan.run.record import read_record
from catdcgan.settings import PROBABILITY

pytestmark = pytest.mark.slow

Outcomes = dict[tuple[str, int], dict[str, Any]]


def outcomes(folder: Path, names: Sequence[str], count: int) -> Outcomes:
    """Run the scenarios in several workers, and return what happened in each, by name and worker."""
    with free_addresses(count) as addresses:
        program = [sys.executable, str(Path(__file__).with_name("scenarios.py")), str(folder)]
        workers = [
            subprocess.Popen(
                [*program, ",".join(addresses), f"{index}", *names],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(count)
        ]
        texts = [worker.communicate()[0] for worker in workers]
    files = {(name, index): folder / f"{name}.{index}.json" for name in names for index in range(count)}
    told = {key: json.loads(file.read_text()) for key, file in files.items() if file.exists()}
    assert told.keys() >= files.keys() - {("killed", 1)}, "\n".join(texts)
    return told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("group")


@pytest.fixture(scope="module")
def told(folder: Path) -> Outcomes:
    """What happened to two workers."""
    return outcomes(folder, [name for name in SCENARIOS if name not in ("slow to save", "mixed")], 2)


def weights(folder: Path, name: str, worker: int) -> Values:
    """The variables of a worker at the end of a scenario."""
    with np.load(folder / f"{name}.{worker}.npz") as found:
        return dict(found)


def alone(folder: Path, **changes: Any) -> Path:
    """Train in this process."""
    train_tiny(draw_cats(IMAGES, 32, seed=0), folder, **changes)
    return folder


def one_step_without_onednn(folder: Path) -> Path:
    """Take a step in a process in which other kernels compute the same: it rounds otherwise."""
    program = f"import sys; from pathlib import Path; sys.path[:0] = {sys.path!r}; import test_group; "
    program += f"test_group.alone(Path({str(folder)!r}), step_count=1)"
    switched = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", program], env=switched, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", ["one step", "straight", "in two, on", "vote", "few"])
def test_the_weights_of_both_workers_have_the_same_bits(told: Outcomes, folder: Path, name: str) -> None:
    first, other = (weights(folder, name, worker) for worker in (0, 1))
    assert first
    assert same(first, other)


def test_the_gradients_of_the_first_step_are_those_of_one_process(
    told: Outcomes, folder: Path, tmp_path: Path
) -> None:
    def gradients(found: Values, network: str) -> np.ndarray:
        # Adam's first moment after the first step is (1 - beta1) times the gradient.
        names = sorted(name for name in found if name.startswith(network) and name.endswith("/Adam"))
        return np.concatenate([found[name].ravel() for name in names])

    one = read_checkpoint(alone(tmp_path / "one", step_count=1) / "models" / "model.ckpt-1")
    # Other kernels round otherwise, too. The generator's gradient comes after a step of the discriminator, in
    # which Adam makes a full step of each weight, however small its gradient: so it differs more.
    control = read_checkpoint(one_step_without_onednn(tmp_path / "control") / "models" / "model.ckpt-1")
    for network in ("discriminator", "generator"):
        whole, rounded, shared = (
            gradients(found, network) for found in (one, control, weights(folder, "one step", 0))
        )
        rounding = np.linalg.norm(rounded - whole) / np.linalg.norm(whole)
        difference = np.linalg.norm(shared - whole) / np.linalg.norm(whole)
        assert 0 < difference < 20 * rounding < 1e-2


@pytest.mark.parametrize(("name", "changes"), [("straight", ALL), ("few", {"images": 17})])
def test_workers_take_the_steps_of_one_process_even_with_few_images_or_none(
    told: Outcomes,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    changes: dict[str, Any],
) -> None:
    images = changes.get("images", IMAGES)
    settings = {key: value for key, value in changes.items() if key != "images"}
    monkeypatch.setattr("catdcgan.diff_augment.RISE", RISE)
    train_tiny(draw_cats(images, 32, seed=0), tmp_path, step_count=3, epoch_count=None, **settings)
    alone, together = (read_history(run / "models/history.jsonl") for run in (tmp_path, folder / name))
    one = [(record["d_loss"], record["g_loss"]) for record in alone]
    np.testing.assert_allclose(told[name, 0]["losses"][:3], one, rtol=2e-2)
    assert told[name, 0]["losses"][0] == pytest.approx(one[0], rel=1e-5)
    probabilities = [[record.get(PROBABILITY, 1) for record in history[:3]] for history in (alone, together)]
    assert probabilities[1] == pytest.approx(probabilities[0], rel=1e-5)
    assert probabilities[0][2] > 0, "the probability has moved"


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(told: Outcomes, folder: Path) -> None:
    assert told["in two, on", 0]["losses"] == told["straight", 0]["losses"]
    assert_same_run(folder / "in two", folder / "straight", read_checkpoint)


def test_worker_0_alone_writes_and_reports(told: Outcomes, folder: Path) -> None:
    assert told["straight", 1] == {"losses": [], "samples": 0}
    assert not list(folder.glob("nothing of*"))
    steps = [record["step"] for record in read_history(folder / "straight/models/history.jsonl")]
    assert steps == list(range(1, 13))


@pytest.mark.filterwarnings("default:.*was trained with workers")
def test_another_number_of_workers_goes_on_with_a_run_and_is_noted(
    told: Outcomes, folder: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="workers 2, now 1: training continues, but rounding will differ"):
        alone(folder / "straight", step_count=13, epoch_count=None, resume=True, **ALL)
    record = read_record(folder / "straight/models/run.json")
    assert record
    assert record["versions"]["workers"] == 1
    assert record["starts"][-1]["changed"]["workers"] == [2, 1]
    assert len(read_history(folder / "straight/models/history.jsonl")) == 13


@pytest.mark.parametrize(
    ("name", "difference"),
    [
        ("other option", "beta1 0.5 and 0.4"),
        ("other seed", "seed 0 and 5"),
        ("other pictures", "fingerprint one and two"),
    ],
)
def test_workers_that_were_started_otherwise_are_refused_by_all(
    told: Outcomes, folder: Path, name: str, difference: str
) -> None:
    errors = [told[name, worker] for worker in (0, 1)]
    assert errors[0] == errors[1]
    assert errors[0]["error"] == "RunError"
    assert f"were started with different {difference}: give all workers the same" in errors[0]["text"]
    assert not (folder / name).exists()


def test_a_signal_to_one_stops_all_after_the_same_step_saved(told: Outcomes, folder: Path) -> None:
    assert [told["vote", worker]["text"] for worker in (0, 1)] == ["143", "143"]
    step = weights(folder, "vote", 0)["global_step"]
    assert step >= 3
    assert numbered(folder / "vote/models")[-1].name == f"model.ckpt-{step}"
    assert len(read_history(folder / "vote/models/history.jsonl")) == step


def test_a_killed_worker_ends_the_other_with_one_error_that_names_it_and_the_checkpoint(
    told: Outcomes, folder: Path
) -> None:
    end = told["killed", 0]
    assert end["error"] == "TrainingError"
    good = numbered(folder / "killed/models")[-1]
    assert "worker 1 (127.0.0.1:" in end["text"]
    assert " ended: " in end["text"]
    assert "start all workers again with --resume" in end["text"]
    assert end["text"].endswith(f"the last good checkpoint is {good}")


@pytest.mark.workers
def test_the_limit_of_a_step_does_not_strike_while_worker_0_saves_and_bfloat16_works(tmp_path: Path) -> None:
    told = outcomes(tmp_path, ["slow to save", "mixed"], 2)
    assert len(told["slow to save", 0]["losses"]) == 1
    assert told["slow to save", 1] == {"losses": [], "samples": 0}
    assert len(told["mixed", 0]["losses"]) == 2
    assert same(weights(tmp_path, "mixed", 0), weights(tmp_path, "mixed", 1))


@pytest.mark.workers
def test_three_workers_take_the_steps_of_one_even_if_two_are_left_without_an_image(tmp_path: Path) -> None:
    told = outcomes(tmp_path, ["few"], 3)
    first, *others = (weights(tmp_path, "few", worker) for worker in range(3))
    assert all(same(first, other) for other in others)
    train_tiny(draw_cats(17, 32, seed=0), tmp_path, step_count=3, epoch_count=None)
    one = [(record["d_loss"], record["g_loss"]) for record in read_history(tmp_path / "models/history.jsonl")]
    np.testing.assert_allclose(told["few", 0]["losses"], one, rtol=2e-2)
