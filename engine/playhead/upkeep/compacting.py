"""Retention: ended runs are removed from a log, whole, and a tombstone is left of each. Owns which, and the order of the steps.

The tombstone is appended first, behind everything that it stands for, and only then is that removed: whoever reads the stream in between
sees a run that has ended, as before. A removal that was interrupted is taken up by the next one. Positions are never given again, and
cursors that stood on what was removed go on. What is in storage (code, parameters, results) is the user's, and is not touched.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from playhead.core.forgetting import tombstone
from playhead.core.names import Micros, StreamName, Version
from playhead.core.replay import Replay, to_append
from playhead.core.state import RunState
from playhead.errors import LogUnusable, OutcomeUnknown, UsageError
from playhead.log.sqlite import url_for
from playhead.ports.store import Append, Appended, Conflict, Duplicate, ForgettingBackend, Outcome, StoreBackend
from playhead.upkeep.backup import archive
from playhead.upkeep.offers import forgetting
from playhead.upkeep.opening import opened_to_read
from playhead.upkeep.pages import PAGE_EVENTS, events_upto
from playhead.upkeep.progress import Progress, unheard
from playhead.upkeep.runs import Passed, Runs
from playhead.upkeep.verifying import verify

ACTOR: Final = "upkeep"  # of tombstones
SETTLE_DELAYS_SECONDS: Final = (0.1, 0.5, 2.0)  # before a tombstone whose outcome is unknown is appended again


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Runs that ended before that moment, of these flows (None: of any), but for the newest `keep_last` of each flow."""

    ended_before: Micros
    flows: frozenset[str] | None = None
    keep_last: int = 0


@dataclass(frozen=True, slots=True)
class Leaving:
    """A run that goes. `begun`: its tombstone is there, and what it stands for is still to be removed."""

    stream: StreamName
    flow: str
    state: str
    version: Version  # of its newest event, without a tombstone
    begun: bool = False


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was removed. `skipped`: runs whose stream went on meanwhile; the next removal takes them."""

    runs: int
    events: int
    skipped: int


async def plan(backend: StoreBackend, retention: Retention, *, progress: Progress = unheard) -> list[Leaving]:
    """The runs that would go, the oldest first. Reads the log once; remembers some words for each run."""
    runs = Runs()
    async for page in events_upto(backend, await backend.head(), progress):
        for event in page:
            runs.add(event)
    of_flow: defaultdict[str, list[tuple[StreamName, Passed]]] = defaultdict(list)
    leaving: list[tuple[StreamName, Passed]] = []
    for stream, run in runs.by_stream.items():
        if run.forgotten:
            leaving += [(stream, run)] if run.first < run.version else []
        elif run.status.terminal and (retention.flows is None or run.flow in retention.flows):
            of_flow[run.flow].append((stream, run))
    for ended in of_flow.values():
        ended.sort(key=lambda each: each[1].moved_at)
        old = ended[: max(len(ended) - retention.keep_last, 0)]
        leaving += [(stream, run) for stream, run in old if run.moved_at < retention.ended_before]
    leaving.sort(key=lambda each: each[1].moved_at)
    return [_leaving(stream, run) for stream, run in leaving]


async def compact(
    backend: StoreBackend,
    leaving: Sequence[Leaving],
    *,
    now: Micros,
    archive_to: Path | None = None,
    progress: Progress = unheard,
) -> Compacted:
    """Remove these runs, durably; `now` is when their tombstones say that it was. The archive, if one is asked for, is whole and looked
    through before anything is removed.

    UsageError: the store removes nothing, or gives no archive. LogUnusable: the log was put back and not served since.
    """
    forgets = _removing(backend)
    if archive_to is not None:
        await _archive(backend, {each.stream for each in leaving}, archive_to, progress)
    runs = events = skipped = 0
    for number, each in enumerate(leaving, 1):
        upto = each.version if each.begun else await _bury(backend, each, now)
        if upto is None:
            skipped += 1
        else:
            events += await forgets.forget(each.stream, upto=upto)
            runs += 1
        progress(number, len(leaving))
    return Compacted(runs, events, skipped)


def _removing(backend: StoreBackend) -> ForgettingBackend:
    forgets = forgetting(backend)
    if forgets is None:
        raise UsageError(
            f"the store of log {backend.log_id} cannot remove events",
            hint="copy the log into one that can, or keep it all",
        )
    if backend.restored is not None:
        raise LogUnusable(
            f"log {backend.log_id} was put back from an older copy, and no server has opened it since",
            hint="start its server once: it settles what the copy does not know; then compact",
        )
    return forgets


async def _archive(backend: StoreBackend, streams: Collection[StreamName], file: Path, progress: Progress) -> None:
    await archive(backend, streams, file, progress=progress)
    async with opened_to_read(url_for(file)) as written:
        looked_at = await verify(written, progress=progress)
    if not looked_at.sound:
        raise LogUnusable(
            f"the archive {file} is not sound, so nothing was removed: {looked_at.findings[0].what}",
            hint="try `playhead store verify` on the log",
        )


async def _bury(backend: StoreBackend, leaving: Leaving, now: Micros) -> Version | None:
    """Append the run's tombstone; the version up to which it stands for everything. None: the run went on meanwhile."""
    state = await _state(backend, leaving.stream)
    if state is None or state.version != leaving.version:
        return None
    stone = Append(
        stream=leaving.stream,
        events=(to_append(tombstone(state)),),
        expected=state.version,
        append_id=f"forgotten.{state.version}",
        actor=ACTOR,
        recorded_at=now,
    )
    match await _settled(backend, stone):
        case Appended() | Duplicate(same=True):
            return state.version
        case Conflict() | Duplicate():
            return None


async def _state(backend: StoreBackend, stream: StreamName) -> RunState | None:
    story, after = Replay(), Version(0)
    while events := await backend.read_stream(stream, after=after, limit=PAGE_EVENTS):
        story.add(events)
        after = events[-1].version
    return story.state()


async def _settled(backend: StoreBackend, append: Append) -> Outcome:
    """An unknown outcome is settled by the same append under the same id."""
    for delay_seconds in SETTLE_DELAYS_SECONDS:
        try:
            return (await backend.commit([append]))[0]
        except OutcomeUnknown:
            await anyio.sleep(delay_seconds)
    return (await backend.commit([append]))[0]


def _leaving(stream: StreamName, run: Passed) -> Leaving:
    newest = Version(run.version - 1) if run.forgotten else run.version
    return Leaving(stream, run.flow, run.status.value, newest, begun=run.forgotten)
