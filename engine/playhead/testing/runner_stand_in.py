"""`python -m playhead.testing.runner_stand_in`, `--order-fd N` or `--order-file PATH`: what the infrastructures' suite has launched.

It takes its order as a runner does, and does what the order's flow is named; the gate that it walks up to is where the order's server
would be. It knows no server, no storage and no key.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from types import FrameType, MappingProxyType
from typing import Final, NoReturn
from urllib.parse import urlsplit

from playhead.runner.bootstrap import RunnerOrder

ASKED_EXIT: Final = 6  # the exit code of one that was asked to end


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand in for a runner, in a check of its infrastructure.")
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--order-fd", type=int)
    ways.add_argument("--order-file")
    given = parser.parse_args()
    order = (
        RunnerOrder.from_file(given.order_file)
        if given.order_file is not None
        else RunnerOrder.from_pipe(given.order_fd)
    )
    signal.signal(signal.SIGTERM, _end_as_asked)
    ACTS[order.flow](order)


def digest(order: RunnerOrder) -> str:
    """Of what an order says. An infrastructure may write the server as it is reached from inside, and bring its environment along."""
    said = order.model_dump_json(exclude={"server", "env"})
    return hashlib.sha256(said.encode()).hexdigest()


def ends(order: RunnerOrder) -> None:
    os._exit(0)


def fails(order: RunnerOrder) -> None:
    os._exit(7)


def waits(order: RunnerOrder) -> None:
    """Stay at the gate, and end with the code 5 once it opens."""
    _walk_up(order, f"{order.run} {order.epoch} {digest(order)} {os.getpid()}").recv(1)
    os._exit(5)


def is_deaf(order: RunnerOrder) -> None:
    """Do not end when asked to."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _walk_up(order, "deaf").recv(1)
    _walk_up(order, "still there").recv(1)


def leaves_a_child(order: RunnerOrder) -> None:
    """End, and leave behind a process that stays at the gate. Let through, it walks up again before it leaves."""
    if os.fork() == 0:
        with closing(_walk_up(order, "child")) as first:
            first.recv(1)
            _walk_up(order, "child went on").recv(1)
        os._exit(0)
    _walk_up(order, "parent").recv(1)
    os._exit(0)


ACTS: Final[Mapping[str, Callable[[RunnerOrder], None]]] = MappingProxyType(
    {act.__name__: act for act in (ends, fails, waits, is_deaf, leaves_a_child)}
)


def _end_as_asked(signal_number: int, frame: FrameType | None) -> NoReturn:
    os._exit(ASKED_EXIT)


def _walk_up(order: RunnerOrder, name: str) -> socket.socket:
    gate = urlsplit(order.server)
    assert gate.hostname is not None, "the suite names the gate as the order's server"
    there = socket.create_connection((gate.hostname, gate.port or 0))
    there.sendall(f"{name}\n".encode())
    return there


if __name__ == "__main__":
    main()
