"""Logs with whole stories in them: a flow, an agent, and runs that ended in every way, written as a service writes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from playhead.core import events as ev
from playhead.core.names import Epoch, Micros, Seq, StreamName, Version, agent_stream, flow_stream, run_stream
from playhead.core.replay import to_append
from playhead.ports.store import Append, Appended, StoreBackend
from tests.core.samples import KEY_ID, MAC, SEAL, STORAGE, claimed, scheduled, started

DAY = 86_400_000_000
TASKS = 3

_ENDS: dict[str, ev.RunEvent] = {
    "succeeded": ev.RunSucceeded(at=5, mac=MAC, size=1),
    "failed": ev.RunFailed(at=5, category=ev.FailureCategory.RAISED, mac=MAC),
    "cancelled": ev.RunCancelled(at=5),
}


def run_id(number: int) -> str:
    return f"{number:032x}"


def stream_of(number: int) -> StreamName:
    return run_stream(run_id(number))


def registered() -> Append:
    event = ev.FlowRegistered(
        flow="census", seal=SEAL, sealed_by=ev.SealedBy.MODULE, executor="thread", run_config="local", storage=STORAGE,
        key_id=KEY_ID,
    )  # fmt: skip
    return _append(flow_stream("census"), [event], 0, "registered", at=0)


def joined() -> Append:
    event = ev.AgentJoined(
        agent="otter", kind="local", capacity=1, storages=(STORAGE,), key_ids=(KEY_ID,), python="3.11", version="0.2.0"
    )
    return _append(agent_stream("otter"), [event], 0, "joined", at=0)


def run_appends(number: int, *, end: str | None = "succeeded", day: int = 0, flow: str = "census") -> list[Append]:
    """A run's appends: asked for, claimed, started, and what its runner reported on that day. `end` None: it is still at work."""
    stream, at, versions = stream_of(number), day * DAY, count()
    asked = scheduled().model_copy(update={"run": run_id(number), "flow": flow, "scheduled_for": at})
    parts: list[list[ev.Event]] = [[asked, ev.RunReady()], [claimed()], [started()]]
    appends: list[Append] = []
    version = 0
    for events in parts:
        appends.append(_append(stream, events, version, f"part.{next(versions)}", at=at))
        version += len(events)
    reported: list[ev.Event] = [ev.JournalAdopted(at=at)]
    for task in range(TASKS):
        key = f"parse~{task}" if task else "parse"
        reported += [
            ev.TaskSubmitted(at=at, key=key, name="parse"),
            ev.TaskStarted(at=at, key=key),
            ev.TaskSucceeded(at=at, key=key, mac=MAC, size=1),
        ]
    appends.append(_append(stream, reported, version, "1.0", at=at, epoch=1))
    version += len(reported)
    if end is not None:
        ended = _ENDS[end].model_copy(update={"at": at})
        appends.append(_append(stream, [ended], version, "1.end", at=at, epoch=1, first_seq=len(reported)))
    return appends


async def fill(backend: StoreBackend, *, runs: int = 6) -> None:
    """Runs 0 to `runs` - 1, the newest of them still at work, their appends among one another. Run n is of day n."""
    ends = ["succeeded", "failed", "cancelled"]
    stories = [
        run_appends(number, end=None if number == runs - 1 else ends[number % 3], day=number) for number in range(runs)
    ]
    await commit(backend, [registered(), joined()])
    while any(stories):
        await commit(backend, [story.pop(0) for story in stories if story])


async def commit(backend: StoreBackend, appends: Sequence[Append]) -> None:
    outcomes = await backend.commit(appends)
    assert all(isinstance(outcome, Appended) for outcome in outcomes), outcomes


def events_in(appends: Sequence[Append]) -> int:
    return sum(len(append.events) for append in appends)


def _append(
    stream: StreamName,
    events: Sequence[ev.Event],
    version: int,
    append_id: str,
    *,
    at: int,
    epoch: int | None = None,
    first_seq: int = 0,
) -> Append:
    return Append(
        stream=stream,
        events=tuple(to_append(event) for event in events),
        expected=Version(version),
        append_id=append_id,
        actor="server" if epoch is None else f"runner/{epoch}",
        recorded_at=Micros(at),
        epoch=None if epoch is None else Epoch(epoch),
        first_seq=None if epoch is None else Seq(first_seq),
    )
