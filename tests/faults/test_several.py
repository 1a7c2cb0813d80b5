"""Three servers on one PostgreSQL: each is killed, the one that leads is stopped, the database crashes, and nobody who works there loses
anything or does it twice (S1, S4, S18, L1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.several import LEADS_NO_MORE, LEASE_SECONDS, SERVERS, Several, several
from tests.postgres.cluster import Cluster
from tests.system.machine import Machine

pytestmark = pytest.mark.faults

LENGTH = 12
RUNS = 3


@pytest.fixture
def servers(tmp_path: Path, postgres: Cluster) -> Iterator[Several]:
    with several(tmp_path, postgres.new_log()) as started:
        yield started


def begun(host: Machine) -> list[str]:
    """Runs that are at work."""
    runs = [host.ask("chain", length=LENGTH, seconds=0.25) for _ in range(RUNS)]
    host.wait_for(lambda: all(host.view(run)["state"] == "running" for run in runs), "the runs to begin")
    return runs


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
    assert sum(steps.values()) <= RUNS * LENGTH + attempts - RUNS, (
        "only what was in flight when a runner was lost is done twice"
    )


def check_ticks(servers: Several) -> None:
    """One run for each second since the first, whoever led."""
    due = servers.due_times()
    assert len(due) > 3
    assert [each - due[0] for each in due] == [timedelta(seconds=number) for number in range(len(due))]


def test_each_server_is_killed_in_turn(servers: Several) -> None:
    host = servers.host
    runs = begun(host)
    for number in range(SERVERS):
        led = servers.leads(number)
        servers.kill(number)
        if led:
            others = [other for other in range(SERVERS) if other != number]
            host.wait_for(lambda among=others: any(map(servers.leads, among)), "another to lead")
        before = len(host.done())
        host.wait_for(lambda than=before: len(host.done()) > than, "the work to go on")
        (host.home / f"server-{number}.out").unlink()
        servers.start(number)
    check_ended(host, runs)
    check_ticks(servers)


def test_a_leader_that_is_stopped_for_three_leases_and_comes_back_takes_nothing_from_anybody(servers: Several) -> None:
    host = servers.host
    runs = begun(host)
    stopped = servers.leader()
    others = [number for number in range(SERVERS) if number != stopped]
    servers.stop(stopped)
    host.wait_for(lambda: any(map(servers.leads, others)), "another to lead")
    seen = len(servers.due_times(others[0]))
    host.wait_for(
        lambda: len(servers.due_times(others[0])) >= seen + 3 * LEASE_SECONDS, "three leases to pass, by the schedule"
    )
    servers.go_on(stopped)
    host.wait_for(lambda: LEADS_NO_MORE in servers.said(stopped), "the one that was stopped to find that another leads")
    check_ended(host, runs)
    check_ticks(servers)


def test_the_database_crashes_and_drops_connections_under_load(servers: Several, postgres: Cluster) -> None:
    host = servers.host
    runs = begun(host)
    for _ in range(3):
        before = len(host.done())
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'playhead' AND pid <> pg_backend_pid()"
        )
        host.wait_for(lambda than=before: len(host.done()) > than, "the work to go on")
    postgres.crash()
    host.wait_for(lambda: any(map(servers.answers, range(SERVERS))), "a server to answer again")
    check_ended(host, runs)
    host.wait_for(lambda: servers.leader() >= 0, "one to lead")
    check_ticks(servers)
