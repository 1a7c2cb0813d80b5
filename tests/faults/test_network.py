"""Cut, deaf and half-open connections between the server's machine and that of agents and runners (S4, S11, L1, L4)."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from playhead.client.patience import Patience
from playhead.server.serve import DEAD_PEER_MILLIS
from playhead.wire import HEARTBEAT_SECONDS, SILENCE_SECONDS
from tests.faults.network import USER, FarMachine, connections, link
from tests.faults.stories import FLOWS, ended_well, linear, steps_of, told_steps
from tests.system.machine import ended

pytestmark = pytest.mark.faults

LEASE_SECONDS: Final = 3.0
FOLLOWER_PORT: Final = 40_404
FOLLOWER: Final = """
import socket
with socket.create_connection({server}, source_address={local}) as stream:
    stream.sendall(b"GET /api/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    while stream.recv(65536):
        pass
"""
SLACK_SECONDS: Final = 30.0  # for a machine that is very busy


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FarMachine]:
    with link() as cable:
        far = FarMachine(tmp_path, cable)
        far.env["PLAYHEAD_LEASE_SECONDS"] = str(LEASE_SECONDS)
        with ended(far):
            yield far


def test_a_cut_shorter_than_a_lease_costs_nothing(host: FarMachine) -> None:
    host.serve_far()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent_far()
    run = host.ask("chain", length=25, seconds=0.1)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with host.link.down():
        before = len(steps_of(host))
        host.wait_for(lambda: len(steps_of(host)) >= before + 3, "the runner to go on under its lease")
        assert told_steps(host, run) < before + 3
    ended_well(host, run, steps=25)


def test_a_runner_that_cannot_hear_the_server_starts_nothing_after_its_lease_and_repeats_its_reports(
    host: FarMachine,
) -> None:
    """The server hears it all the while, and keeps its lease: it may go on when it hears again."""
    host.serve_far()
    host.playhead("register", f"{FLOWS}:chain")
    host.agent_far()
    run = host.ask("chain", length=60, seconds=0.1)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    with host.link.deaf(1):
        since = time.monotonic()
        host.wait_for(lambda: time.monotonic() - since >= 2 * LEASE_SECONDS, "two leases to pass")
        held = len(steps_of(host))
        host.wait_for(lambda: time.monotonic() - since >= 3 * LEASE_SECONDS, "three leases to pass")
        assert len(steps_of(host)) == held < 60
    shown = host.ended(run)
    assert shown["state"] == "succeeded"
    assert_nothing_twice(host, run, length=60, losses=shown["losses"])


def test_a_cut_of_three_leases_is_noticed_on_both_sides_and_another_runner_goes_on(host: FarMachine) -> None:
    server = host.serve_far()
    host.playhead("register", f"{FLOWS}:chain")
    agent = host.agent_far()
    follow(host)
    run = host.ask("chain", length=80, seconds=0.1)
    host.wait_for(lambda: told_steps(host, run) >= 2, "acknowledged steps")
    host.wait_for(lambda: stream_at(server.pid), "the follower's stream")
    with host.link.down():
        cut = time.monotonic()
        here = {pair for pair in connections(agent.pid) if not is_follower(pair[0])}
        assert here
        host.wait_for(lambda: host.view(run)["state"] == "ready", "the server to miss the runner")
        held = len(steps_of(host))
        bound = max(SILENCE_SECONDS, Patience().request_seconds) + SLACK_SECONDS
        host.wait_for(lambda: not here & connections(agent.pid), "the user's side to notice", bound)
        assert len(steps_of(host)) <= held + 1, "after its lease a runner starts nothing"
        bound = DEAD_PEER_MILLIS / 1000 + HEARTBEAT_SECONDS + SLACK_SECONDS - (time.monotonic() - cut)
        host.wait_for(lambda: not stream_at(server.pid), "the server to notice", max(bound, 1.0))
    shown = host.ended(run)
    assert (shown["state"], shown["losses"]) == ("succeeded", 1)
    assert_nothing_twice(host, run, length=80, losses=1)


def follow(host: FarMachine) -> None:
    """Somebody on the user's machine who reads the event stream, and would never hear that it is dead."""
    address, _, port = host.url().removeprefix("http://").partition(":")
    program = FOLLOWER.format(server=(address, int(port)), local=(USER, FOLLOWER_PORT))
    host.start(*host.link.at_user(), sys.executable, "-c", program, name="follower")


def stream_at(server: int) -> bool:
    return any(is_follower(remote) for _, remote in connections(server))


def is_follower(end: str) -> bool:
    return end.endswith(f":{FOLLOWER_PORT:04X}")


def assert_nothing_twice(host: FarMachine, run: str, *, length: int, losses: int) -> None:
    done = Counter(steps_of(host))
    assert set(done) == {f"step {number}" for number in range(length)}
    assert sum(done.values()) <= length + losses, "only what was in flight may run twice"
    linear(host, run)
