"""The examples do what they say, as a reader would start them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_hello_and_the_etl_run_without_a_server(host: Machine) -> None:
    assert host.json("run", f"{EXAMPLES / 'hello.py'}:hello", "-p", "name=you")["result"] == "Hello, you!"
    done = host.json("run", f"{EXAMPLES / 'etl.py'}:etl", "-p", "files=3")
    assert set(done["result"]) == {"tea", "coffee", "cake"}
    shown = host.show(done["run_id"])
    assert {task["key"] for task in shown["tasks"]} >= {"extract.2", "transform.2", "load"}


def test_the_census_counts_and_its_first_attempt_fails(host: Machine) -> None:
    done = host.json("run", f"{EXAMPLES / 'census.py'}:census", "-p", "limit=40")
    total = done["result"][-1]
    assert total["files"] == 40
    assert total["lines"] > 1_000
    attempts = {task["key"]: task["attempt"] for task in host.show(done["run_id"])["tasks"]}
    assert attempts["interpreter"] == 2
    assert attempts["count.39"] == 1


def test_the_flow_on_a_schedule_is_registered_with_its_next_time(host: Machine) -> None:
    host.up()
    host.playhead("register", f"{EXAMPLES / 'heartbeat.py'}:heartbeat")
    (flow,) = host.json("flows")
    assert flow["next_due"] is not None
    host.wait_for(lambda: host.json("runs", "--flow", "heartbeat"), "a scheduled run")
    run = host.json("runs", "--flow", "heartbeat")[0]["run_id"]
    assert host.ended(run)["state"] == "succeeded"
