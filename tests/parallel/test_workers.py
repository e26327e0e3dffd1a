"""The options that say who trains: what they mean, and the one error for each that cannot be."""

from __future__ import annotations

import argparse
import json
import socket
from typing import Any

import pytest
from ports import free_addresses

from catdcgan.cli import main
from catdcgan.errors import InputError, RunError
from catdcgan.run.record import refuse_differences
from catdcgan.run.workers import Workers, check_own_address, chosen_workers, trouble_at, wait_for_others

TWO = ("one:2222", "two:2222")


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"devices": 1, "step_limit": 120.0} | given)


def in_tf_config(cluster: Any, task: Any) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def test_flags_win_over_tensorflows_own_variable_and_that_over_nothing() -> None:
    there = in_tf_config({"worker": list(TWO)}, {"type": "worker", "index": 1})
    assert chosen_workers(options(), {}) == Workers()
    assert chosen_workers(options(), {"TF_CONFIG": ""}) == Workers()
    assert chosen_workers(options(), there) == Workers(TWO, 1)
    assert chosen_workers(options(devices=2), there) == Workers(), "its processes get --workers"
    flags = options(workers=("three:1",), worker=0, step_limit=9)
    assert chosen_workers(flags, there) == Workers(("three:1",), 0, 9)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"cluster": {"worker": ["one:1"]}}),
        json.dumps({"cluster": {"worker": "one:1"}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": [1]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": ["one:1"]}, "task": {"type": "worker", "index": "0"}}),
        json.dumps({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": ["one:1"]}, "task": {"type": "ps", "index": 0}}),
    ],
)
def test_a_malformed_tf_config_is_one_error_that_shows_what_it_should_be(text: str) -> None:
    with pytest.raises(InputError, match=r'TF_CONFIG is not \{"cluster": .*--workers'):
        chosen_workers(options(), {"TF_CONFIG": text})


@pytest.mark.parametrize(
    ("workers", "reason"),
    [
        (Workers(("one", "two:1")), "'one' is not host:port"),
        (Workers(("one:1", "")), "'' is not host:port"),
        (Workers(("one:1", "two:66000")), "'two:66000' is not host:port"),
        (Workers(("one..org:1", "two:1")), "'one..org:1' is not host:port"),
        (Workers((64 * "a" + ":1", "two:1")), "' is not host:port"),
        (Workers(("one:1", "one:1")), "one:1 is the address of two workers"),
        (Workers(TWO, 2), "no worker 2 among 2, which are numbered from 0"),
        (Workers((), 1), "no worker 1 among 1"),
        (Workers(("a:1", "b:1", "c:1")), "a batch size of 2 is too small for 3 workers"),
    ],
)
def test_workers_that_cannot_train_together_are_refused(workers: Workers, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        workers.check(batch_size=2)


@pytest.mark.parametrize("whole", [1, 2, 5, 16])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_image_of_a_batch_goes_to_one_worker(whole: int, count: int) -> None:
    parts = [Workers(tuple(f"a:{n}" for n in range(count)), index).part(whole) for index in range(count)]
    assert [number for first, end in parts for number in range(first, end)] == list(range(whole))
    sizes = [end - first for first, end in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_worker_listens_on_its_own_free_address_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RunError, match=f"cannot listen on {taken} .*port must be free"):
            check_own_address(taken)
    with pytest.raises(RunError, match=r"cannot listen on 192.0.2.1:2222 .*address is this machine's"):
        check_own_address("192.0.2.1:2222")
    with free_addresses(1) as addresses:
        check_own_address(addresses[0])


def test_a_worker_that_does_not_come_is_named_on_the_screen_and_then_in_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with free_addresses(2) as addresses:  # nobody listens
        workers = Workers(tuple(addresses), 0, patience=0.3)
        with pytest.raises(
            RunError, match=rf"worker 1 \({addresses[1]}\) could not be reached in 0 s .*refused"
        ):
            wait_for_others(workers)
        assert capsys.readouterr().err == f"Waiting for worker 1 ({addresses[1]}), 0 s at most\n"
        assert workers.gone() == [f"worker 1 ({addresses[1]})"]


def test_a_name_that_no_machine_has_is_waited_for_and_then_named() -> None:
    with pytest.raises(RunError, match=r"worker 1 \(no-such-host.invalid:1\) could not be reached"):
        wait_for_others(Workers(("one:1", "no-such-host.invalid:1"), 0, patience=0))


def test_who_listens_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert trouble_at(f"127.0.0.1:{other.getsockname()[1]}") is None


def test_what_differs_between_workers_is_named() -> None:
    facts = {"seed": 1, "shape": [32, 32, 3]}
    refuse_differences({"worker 0": facts, "worker 1": dict(facts)})
    with pytest.raises(
        RunError, match="worker 0 and worker 2 were started with different seed 1 and 2: give all"
    ):
        refuse_differences({"worker 0": facts, "worker 1": facts, "worker 2": facts | {"seed": 2}})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--workers=a:1,b:1", "--workers and --worker need each other"),
        ("--worker=1", "--workers and --worker need each other"),
        ("--devices=2 --workers=a:1,b:1 --worker=0", "--devices is for one machine"),
        ("--devices=0", "0 is below 1"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data=drawn", *arguments.split()])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["--devices=3", "--workers=a:1,b:1,c:1 --worker=2"])
def test_a_batch_in_which_a_worker_gets_no_image_is_refused_before_anything_starts(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data=drawn", "--batch-size=2", *arguments.split()]) == 1
    assert "a batch size of 2 is too small for 3 workers: raise it" in capsys.readouterr().err
