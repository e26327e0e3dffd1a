"""Which processes train one model together, and which of them this one is. Needs no TensorFlow."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from time import monotonic, sleep

from catdcgan.errors import InputError, RunError
from catdcgan.files import parse_json
from catdcgan.run.progress import human_time
from catdcgan.screen import tell
from catdcgan.settings import positive, whole

MOST_DEVICES = 1024
TF_CONFIG = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


def check_batch_size(batch_size: int, workers: int) -> None:
    """Refuse a batch in which not every worker gets an image; raises InputError."""
    if batch_size < workers:
        raise InputError(f"a batch size of {batch_size} is too small for {workers} workers: raise it")


@dataclass(frozen=True)
class Workers:
    """The processes that train together; without addresses, this one trains alone."""

    addresses: tuple[str, ...] = ()  # "host:port" of every worker, the same list for all
    index: int = 0  # this one's place in the list; worker 0 saves, draws and reports
    step_limit: float = 120  # seconds after which a silent worker is given up
    patience: float = 600  # seconds to wait for the others at the start

    @property
    def size(self) -> int:
        """Number of processes."""
        return max(len(self.addresses), 1)

    @property
    def leads(self) -> bool:
        """Whether this one saves, draws and reports."""
        return self.index == 0

    @property
    def others(self) -> list[int]:
        """The numbers of all but this one."""
        return [number for number in range(self.size) if number != self.index]

    def part(self, whole: int) -> tuple[int, int]:
        """First and end of this worker's images in a batch of `whole`."""
        return whole * self.index // self.size, whole * (self.index + 1) // self.size

    def gone(self) -> list[str]:
        """The names of workers that have ended: their machines say that nobody listens there."""
        return [
            self.name(number)
            for number in self.others
            if isinstance(trouble_at(self.addresses[number]), ConnectionRefusedError)
        ]

    def name(self, number: int) -> str:
        """A worker's name in messages."""
        return f"worker {number} ({self.addresses[number]})"

    def check(self, batch_size: int) -> None:
        """Refuse workers that cannot train together.

        Raises:
            InputError: an address is not "host:port" or given twice, there is no worker of this number, or a
                batch has fewer images than there are workers.
        """
        for address in self.addresses:
            found = re.fullmatch(r"([^\s:,/]+):(\d{1,5})", address)
            if not found or not _is_host(found[1]) or not 0 < int(found[2]) < 2**16:
                raise InputError(f"the worker {address!r} is not host:port, such as cats1.example.org:2222")
            if self.addresses.count(address) > 1:
                raise InputError(f"{address} is the address of two workers: each needs its own")
        if not 0 <= self.index < self.size:
            raise InputError(f"there is no worker {self.index} among {self.size}, which are numbered from 0")
        check_batch_size(batch_size, self.size)


ONE_PROCESS = Workers()


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which processes train."""
    add, unset = parser.add_argument, argparse.SUPPRESS
    text = (
        "train in N processes on this machine, each with a GPU or its share of the cores; they open ports, "
    )
    text += "so use it in trusted networks only"
    add("--devices", type=whole(1, MOST_DEVICES), default=1, metavar="N", help=text)
    text = "train on several machines, the same list on each; for trusted networks only (default: TF_CONFIG)"
    add("--workers", type=_addresses, default=unset, metavar="HOST:PORT,HOST:PORT", help=text)
    text = "which of --workers this one is, from 0; worker 0 saves, draws and reports"
    add("--worker", type=whole(0), default=unset, metavar="N", help=text)
    text = "with several workers: give up one that is silent for so many seconds"
    add("--step-limit", type=positive, default=Workers.step_limit, metavar="SECONDS", help=text)


def _is_host(name: str) -> bool:
    """Whether sockets accept a host's name: no part of it is empty or has more than 63 letters."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return True


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def chosen_workers(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Workers:
    """The workers that the options name, or TensorFlow's variable TF_CONFIG, or this process alone.

    Raises:
        InputError: TF_CONFIG is malformed.
    """
    given = vars(options)
    if ("workers" in given) != ("worker" in given):
        options.refuse("--workers and --worker need each other")
    if "workers" in given and options.devices > 1:
        options.refuse("--devices is for one machine, --workers for several: give one of them")
    if "workers" in given:
        return Workers(given["workers"], given["worker"], options.step_limit)
    if options.devices > 1 or not environment.get("TF_CONFIG"):
        return ONE_PROCESS
    try:
        config = parse_json(environment["TF_CONFIG"])
    except ValueError:
        config = None
    match config:
        case {
            "cluster": {"worker": [*addresses], **rest},
            "task": {"type": "worker", "index": int(index)},
        } if not rest and all(isinstance(address, str) for address in addresses):
            return Workers(tuple(addresses), index, options.step_limit)
    raise InputError(
        f"TF_CONFIG is not {TF_CONFIG}: correct or unset it, or name the machines with --workers"
    )


@cache  # once: then this process listens itself
def check_own_address(address: str) -> None:
    """Check that this worker can listen on its address.

    Raises:
        RunError: it is no address of this machine, or another program listens on the port.
    """
    host, port = address.split(":")
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as TensorFlow does
            trial.bind((host, int(port)))
    except OSError as error:
        raise RunError(
            f"this worker cannot listen on {address} ({error}): --worker must say which address is this "
            "machine's, and its port must be free"
        ) from error


def wait_for_others(workers: Workers) -> None:
    """Wait until all workers listen, and say for whom.

    TensorFlow itself would wait for worker 0 forever, and heed no Ctrl-C.

    Raises:
        RunError: one cannot be reached in `Workers.patience` seconds.
    """
    end, patience = monotonic() + workers.patience, human_time(workers.patience)
    for number in workers.others:
        told = False
        while trouble := trouble_at(workers.addresses[number]):
            if not told:
                tell(f"Waiting for {workers.name(number)}, {patience} at most")
            told = True
            if monotonic() > end:
                raise RunError(
                    f"{workers.name(number)} could not be reached in {patience} ({trouble}): start it; "
                    "check its address, which must be the same for all workers, and the firewall"
                )
            sleep(0.2)


def trouble_at(address: str) -> OSError | None:
    """Why no worker can be reached at an address; None if one can."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        return error
    return None
