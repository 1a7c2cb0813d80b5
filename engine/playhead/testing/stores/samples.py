"""Appends and reads that the checks are written in. Each check writes to streams of its own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from playhead.core.names import Epoch, Micros, Position, Seq, StreamName, Version
from playhead.ports.store import (
    Append,
    Appended,
    Duplicate,
    Expect,
    Expected,
    NewEvent,
    Outcome,
    Recorded,
    StoreBackend,
)
from playhead.testing.checks import CheckFailed, expect

STREAMS: Final = "default/check/"  # what the names of the checks' streams begin with
EVERYTHING: Final = 10_000  # a limit that none of the streams here reaches


def new_stream() -> StreamName:
    return StreamName(f"{STREAMS}{uuid.uuid4().hex}")


def new_id() -> str:
    return uuid.uuid4().hex


def new_append(
    stream: StreamName,
    count: int = 1,
    *,
    expected: Expected = Expect.ANY,
    append_id: str | None = None,
    epoch: int | None = None,
    data: dict[str, Any] | None = None,
    actor: str = "server",
    recorded_at: int = 1_700_000_000_000_000,
) -> Append:
    body = data if data is not None else {"key": "extract", "attempt": 1}
    return Append(
        stream=stream,
        events=tuple(NewEvent(type="check.done", schema=1, data=body) for _ in range(count)),
        expected=expected,
        append_id=append_id or new_id(),
        actor=actor,
        recorded_at=Micros(recorded_at),
        epoch=None if epoch is None else Epoch(epoch),
        first_seq=None if epoch is None else Seq(0),
    )


async def commit_one(store: StoreBackend, append: Append) -> Outcome:
    outcomes: Sequence[Outcome] = await store.commit([append])
    expect(len(outcomes) == 1, f"one append has {len(outcomes)} outcomes")
    return outcomes[0]


async def write(
    store: StoreBackend, stream: StreamName, count: int = 1, *, expected: Expected = Expect.ANY
) -> Appended:
    outcome = await commit_one(store, new_append(stream, count, expected=expected))
    return appended(outcome, f"an append that expected {expected}")


def appended(outcome: Outcome, what: str) -> Appended:
    if not isinstance(outcome, Appended):
        raise CheckFailed(f"{what} gave {outcome}")
    return outcome


def duplicate_of(first: Outcome) -> Duplicate:
    """What the same append, sent again, must give."""
    known = appended(first, "the first of two")
    return Duplicate(known.first, known.last, known.version, same=True)


async def all_pages(store: StoreBackend, after: Position, limit: int) -> list[Recorded]:
    """All events behind `after`, page by page, until a page gets nowhere."""
    events: list[Recorded] = []
    while True:
        page = await store.read_all(after=after, limit=limit)
        expect(len(page.events) <= limit, f"a page of at most {limit} holds {len(page.events)}")
        events += page.events
        if page.scanned <= after:
            return events
        after = page.scanned


async def whole_stream(store: StoreBackend, stream: StreamName) -> list[Recorded]:
    """All events of a stream, however many, page by page."""
    events: list[Recorded] = []
    while page := await store.read_stream(stream, after=Version(len(events)), limit=EVERYTHING):
        events += page
    return events
