"""Three servers on one PostgreSQL: each is killed, the one that leads is stopped, the database crashes, and nobody who works there loses
anything or does it twice (S1, S4, S18, L1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.faults.several import LEADS_NO_MORE, LEASE_SECONDS, SERVERS, Several, several
from tests.postgres.cluster import Cluster
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

LENGTH = 12


@pytest.fixture
def servers(tmp_path: Path, postgres: Cluster) -> Iterator[Several]:
    with several(tmp_path, postgres.new_log()) as started:
        yield started


def begun(host: Machine, step_seconds: float = 0.25) -> str:
    """A run that a runner has begun; it may have ended already, on a machine that is slow to look."""
    run = host.ask("chain", length=LENGTH, seconds=step_seconds)
    host.wait_for(lambda: host.view(run)["state"] not in ("ready", "claimed"), "the run to begin")
    return run


def more_is_done(host: Machine, before: int) -> bool:
    return len(host.done()) > before


def check_ended(host: Machine, runs: list[str]) -> None:
    """They succeed, and log and ledger agree: each step is in the log once, and was done once in each epoch at the most."""
    attempts = 0
    for run in runs:
        shown = host.ended(run)
        assert shown["state"] == "succeeded"
        attempts += shown["attempt"]
        events = host.events(run)
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        outcomes = Counter(event["data"]["key"] for event in events if event["type"] == "task.succeeded")
        assert len(outcomes) == LENGTH
        assert set(outcomes.values()) == {1}
    steps = Counter(line for line in host.done() if line.startswith("step"))
    assert set(steps) == {f"step {number}" for number in range(LENGTH)}
    assert len(runs) * LENGTH <= sum(steps.values()) <= len(runs) * LENGTH + attempts - len(runs), (
        "only what was in flight when a runner was lost is done twice"
    )


def check_ticks(servers: Several) -> None:
    """One run for each second since the first, whoever led."""
    due = servers.due_times()
    assert len(due) > 3
    assert [each - due[0] for each in due] == [timedelta(seconds=number) for number in range(len(due))]


def test_each_server_is_killed_in_turn(servers: Several) -> None:
    host = servers.host
    runs: list[str] = []
    for number in range(SERVERS):
        runs.append(begun(host))
        led = servers.leads(number)
        servers.kill(number)
        if led:
            host.wait_for(partial(servers.another_leads, number), "another to lead")
        before = len(host.done())
        host.wait_for(partial(more_is_done, host, before), "the work to go on")
        (host.home / f"server-{number}.out").unlink()
        servers.start(number)
    check_ended(host, runs)
    check_ticks(servers)


def test_a_leader_that_is_stopped_for_three_leases_and_comes_back_takes_nothing_from_anybody(servers: Several) -> None:
    host = servers.host
    runs = [begun(host), begun(host)]
    stopped = servers.leader()
    alive = (stopped + 1) % SERVERS
    servers.stop(stopped)
    host.wait_for(partial(servers.another_leads, stopped), "another to lead")
    seen = len(servers.due_times_by(alive))
    host.wait_for(
        lambda: len(servers.due_times_by(alive)) >= seen + 3 * LEASE_SECONDS, "three leases to pass, by the schedule"
    )
    servers.go_on(stopped)
    host.wait_for(lambda: LEADS_NO_MORE in servers.said(stopped), "the one that was stopped to find that another leads")
    check_ended(host, runs)
    check_ticks(servers)


def test_the_database_crashes_and_drops_connections_under_load(servers: Several, postgres: Cluster) -> None:
    host = servers.host
    runs = [begun(host, 0.5) for _ in range(3)]  # all before: who asks is told of a database that is away
    for _ in range(3):
        before = len(host.done())
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'playhead' AND pid <> pg_backend_pid()"
        )
        host.wait_for(partial(more_is_done, host, before), "the work to go on")
    postgres.crash()
    host.wait_for(lambda: any(map(servers.answers, range(SERVERS))), "a server to answer again")
    check_ended(host, runs)
    host.wait_for(lambda: servers.leader() >= 0, "one to lead")
    check_ticks(servers)
