"""The bounds on time: what must have happened when so much of it has passed with a server at work. Looked at again and again.

A server that was killed or stopped gives everybody a full term; so do these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

from playhead.core.state import RunStatus
from tests.simulation import promises as ck
from tests.simulation.checkers import Checkers
from tests.simulation.fibers import Process
from tests.simulation.network import Answer
from tests.simulation.server import LEASE_SECONDS, SETTINGS, Request
from tests.simulation.servers import Servers
from tests.simulation.story import Story

# For commits without word, which are tried again for about two seconds, and the steps themselves
SLACK_SECONDS: Final = 3.0
START_SLACK_SECONDS: Final = 0.1  # a lease's end is looked at by another thread than the one that starts

LEASING: Final = {"start", "heartbeat", "report"}


class _OfEpoch(BaseModel):
    model_config = ConfigDict(extra="ignore")

    epoch: int


@dataclass
class Bounds:
    checkers: Checkers
    servers: Servers
    now: Callable[[], float]
    store_is_away: Callable[[], bool]
    led: float = 0.0  # when one led last
    heard: dict[tuple[str, int], float] = field(default_factory=dict[tuple[str, int], float])  # by the server
    leased: dict[Process, float] = field(default_factory=dict[Process, float])  # when its newest good request was sent
    since: dict[str, tuple[RunStatus, int, float]] = field(default_factory=dict[str, tuple[RunStatus, int, float]])

    def on_answer(self, _asker: Process, request: Request, _sent_at: float, answer: Answer) -> None:
        if request.verb in LEASING and answer.status == 200 and request.body is not None:
            epoch = _OfEpoch.model_validate_json(request.body).epoch
            self.heard[request.path.split("/")[2], epoch] = self.now()

    def on_taken(self, asker: Process, request: Request, sent_at: float, answer: Answer) -> None:
        if request.verb in LEASING and answer.status == 200:
            self.leased[asker] = max(self.leased.get(asker, 0.0), sent_at)

    def on_launch(self, process: Process) -> None:
        """L4. A thread that was held up between looking and starting is excused."""
        ends = self.leased.get(process, 0.0) + LEASE_SECONDS + START_SLACK_SECONDS
        held_up = max(process.stopped_until, process.late_until)
        if self.now() > max(ends, held_up + START_SLACK_SECONDS):
            over = self.now() - ends
            self.checkers.fail(ck.LEASED, f"{process.name} starts a call {over:.2f} s after its lease's end")

    def look(self) -> None:
        """L1, L2 and L9."""
        self._look_who_leads()
        for run, story in self.checkers.stories.items():
            self._look_at(run, story, self.servers.at_work_since)

    def _look_who_leads(self) -> None:
        """Of several there is one soon, when one can; a store that is away is an excuse for all."""
        if self.store_is_away() or self.servers.at_work_since <= self.now():
            self.led = self.now()
        could = self.now() - max(self.led, self.servers.any_at_work_since)
        if could > SETTINGS.takeover_seconds + SETTINGS.lead_seconds + SLACK_SECONDS:
            self.checkers.fail(ck.LED, f"for {could:.1f} s a server could have led, and none does")

    def _look_at(self, run: str, story: Story, quiet_since: float) -> None:
        state = story.state
        if state is None or state.status not in _TERMS:
            self.since.pop(run, None)
            return
        epoch = state.head.epoch
        known = self.since.get(run)
        if known is None or known[:2] != (state.status, epoch):
            known = self.since[run] = state.status, epoch, self.now()
        promise, seconds = _TERMS[state.status]
        since = max(known[2], quiet_since)
        if state.status is RunStatus.RUNNING:
            since = max(since, self.heard.get((run, epoch), 0.0))
        if self.now() - since > seconds + SETTINGS.sweep_seconds + SLACK_SECONDS:
            self.checkers.fail(
                promise, f"run {run[:4]} is {state.status} in epoch {epoch} for {self.now() - since:.1f} s"
            )


_TERMS: Final = {
    RunStatus.CLAIMED: (ck.TAKEN_BACK, SETTINGS.launch_timeout_seconds),
    RunStatus.RUNNING: (ck.OFFERED, SETTINGS.lease_seconds),
    RunStatus.CANCELLING: (ck.CANCELLED, SETTINGS.cancel_grace_seconds + SETTINGS.lease_seconds),
}
