"""What must hold of a run's story whatever was done to it. Owns the questions that every fault's test asks in the end.

It looks at what a stranger can see: the run's history as the server gives it, and the ledger that tasks write outside of the engine.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.system.machine import Machine

FLOWS: Final = str(Path(__file__).with_name("flows.py"))
SENDER: Final = "runner/"


def ended_well(host: Machine, run: str, *, steps: int, attempts: int = 1) -> list[dict[str, Any]]:
    """Wait for the run's end: it succeeded in so many attempts, and did each of its steps once. Gives its events."""
    shown = host.ended(run)
    assert (shown["state"], shown["attempt"]) == ("succeeded", attempts), shown
    assert Counter(steps_of(host)) == {f"step {number}": 1 for number in range(steps)}
    return linear(host, run)


def linear(host: Machine, run: str) -> list[dict[str, Any]]:
    """Versions without a gap (S1), one outcome for each task (S6), no epoch behind a later one (S4). Gives the events."""
    events = host.events(run)
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    epochs = [int(event["actor"].removeprefix(SENDER)) for event in events if event["actor"].startswith(SENDER)]
    assert epochs == sorted(epochs), "an epoch that was over has written"
    outcomes = Counter(event["data"]["key"] for event in events if event["type"] == "task.succeeded")
    assert set(outcomes.values()) <= {1}, "a task has two outcomes"
    return events


def steps_of(host: Machine) -> list[str]:
    return [line for line in host.done() if line.startswith("step ")]


def told_steps(host: Machine, run: str) -> int:
    """How many tasks' success the log has acknowledged."""
    return sum(event["type"] == "task.succeeded" for event in host.events(run))
