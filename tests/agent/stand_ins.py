"""Small programs that stand in for a runner: real processes, started as one is, which do one thing each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from playhead.core.events import Origin
from playhead.runner.bootstrap import RunnerOrder

_PREAMBLE = """
import json, os, signal, socket, subprocess, sys
def read_order():
    with os.fdopen(int(sys.argv[-1]), "rb") as pipe:
        data = pipe.read()
    if not data:
        os._exit(99)  # the agent is gone
    return json.loads(data[4:])
def wait_at_gate(name):
    with socket.create_connection(("127.0.0.1", int(os.environ["GATE"]))) as gate:
        gate.sendall((name + "\\n").encode())
        gate.recv(1)
order = read_order()
"""


def stand_in(body: str) -> Sequence[str]:
    """The command of a runner that reads its order into `order`, and then does `body`."""
    return (sys.executable, "-I", "-S", "-c", _PREAMBLE + body)


_ZYGOTE = """
import sys
from playhead.runner import __main__ as runner
from playhead.zygote import __main__ as zygote
def serve(order_fd):
    exec({body!r}, {{"__name__": "stand_in"}})
    return 0
runner.serve = serve
{beside}
zygote.main()
"""


def zygote_stand_in(body: str, *, beside: str = "") -> Sequence[str]:
    """The command of a zygote whose forks do as `stand_in(body)` does, and which itself first does what is `beside`."""
    return (sys.executable, "-c", _ZYGOTE.format(body=_PREAMBLE + body, beside=beside))


def an_order(run: str = "ab" * 16, epoch: int = 1) -> RunnerOrder:
    return RunnerOrder(
        server="http://127.0.0.1:9",
        agent="brisk-otter-4f2a",
        run=run,
        epoch=epoch,
        grant="12345678",
        flow="census",
        seal="5ea1" * 8,
        origin=Origin.ASKED,
        scheduled_for=0,
        executor="thread",
        storage_url="file:///nowhere",
        storage_id="57" * 8,
        key_id="4e" * 8,
        run_key="run-key-text",
        flow_key="flow-key-text",
        lease_seconds=15.0,
    )
