"""Runs as recorded events, written by hand: one legal story after another, without any engine."""

from __future__ import annotations

from playhead.core import events as ev
from playhead.core.events import Origin
from playhead.core.names import Epoch, Micros, Position, Seq, Version, run_stream
from playhead.ports.store import Recorded

RUN = "0123456789abcdef0123456789abcdef"
HEX = "00112233445566778899aabbccddeeff"
MAC = "A" * 22
BEGIN = 1_800_000_000_000_000  # microseconds


class Story:
    """Grows by `say`; each event is recorded one millisecond after the one before."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self._seq = 0

    @property
    def now(self) -> int:
        return BEGIN + 1_000 * len(self.recorded)

    def say(self, *events: ev.Event) -> Story:
        for event in events:
            epoch = seq = None
            if isinstance(event, ev.RunnerEvent):
                epoch, seq = Epoch(1), Seq(self._seq)
                self._seq += 1
            version = len(self.recorded) + 1
            self.recorded.append(
                Recorded(
                    position=Position(version + 100),
                    stream=run_stream(RUN),
                    version=Version(version),
                    recorded_at=Micros(self.now),
                    type=event.TYPE,
                    schema=event.SCHEMA,
                    actor="server" if epoch is None else "runner/1",
                    data=ev.encode(event),
                    append_id=f"a{version}",
                    index=0,
                    epoch=epoch,
                    seq=seq,
                )
            )
        return self

    def begun(self) -> Story:
        """Asked for, claimed and started."""
        scheduled = ev.RunScheduled(
            run=RUN, flow="crawl", seal=HEX, origin=Origin.ASKED, scheduled_for=BEGIN, executor="thread",
            run_config="universal", storage=HEX, key_id=HEX,
        )  # fmt: skip
        claimed = ev.RunClaimed(agent="brisk-otter", claim=HEX, epoch=1, grant=HEX)
        started = ev.RunStarted(epoch=1, storage=HEX, python="3.11", key_scheme=1)
        return self.say(scheduled, ev.RunReady(), claimed, started, ev.JournalAdopted(at=self.now))

    def mapped(self, key: str, width: int) -> Story:
        return self.say(ev.TaskMapped(at=self.now, key=key, name=key, width=width))

    def submitted(self, key: str) -> Story:
        return self.say(ev.TaskSubmitted(at=self.now, key=key, name=key))

    def started(self, key: str, attempt: int = 1) -> Story:
        return self.say(ev.TaskStarted(at=self.now, key=key, attempt=attempt))

    def succeeded(self, key: str, attempt: int = 1) -> Story:
        return self.say(ev.TaskSucceeded(at=self.now, key=key, attempt=attempt, mac=MAC, size=1))

    def retrying(self, key: str) -> Story:
        category = ev.FailureCategory.RAISED
        return self.say(ev.TaskRetrying(at=self.now, key=key, category=category, mac=MAC, retry_at=self.now))

    def failed(self, key: str) -> Story:
        return self.say(ev.TaskFailed(at=self.now, key=key, category=ev.FailureCategory.RAISED, mac=MAC))

    def done(self, key: str) -> Story:
        return self.started(key).succeeded(key)

    def ended(self) -> Story:
        return self.say(ev.RunSucceeded(at=self.now, mac=MAC, size=1))
