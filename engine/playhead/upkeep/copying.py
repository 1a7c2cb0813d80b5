"""A log copied from one store into another. Owns the two ways: whole, with its id, or append by append into a log of its own.

Both go on where an interrupted copy stopped, and refuse a target that is neither empty nor a beginning of the source.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from msgspec.structs import replace

from playhead.core.names import LogId, Position, Version
from playhead.errors import LogUnusable, UsageError
from playhead.log.ranges import Range, merged
from playhead.ports.store import (
    Append,
    Appended,
    Duplicate,
    Expect,
    Kept,
    NewEvent,
    Recorded,
    RestoringBackend,
    StoreBackend,
)
from playhead.upkeep.offers import restoring
from playhead.upkeep.pages import PAGE_EVENTS, appends_upto, events_upto
from playhead.upkeep.progress import Progress, unheard


@dataclass(frozen=True, slots=True)
class Copied:
    """`whole`: the copy has the source's id, positions and links, and its cursors fit. Else it is a log of its own with the same events."""

    whole: bool
    source: LogId
    target: LogId
    head: Position  # of the copy
    appends: int  # written now; more were there if an earlier copy was interrupted


async def copy(source: StoreBackend, target: StoreBackend, *, progress: Progress = unheard) -> Copied:
    """Everything that the source holds now. UsageError: the target holds something else, or cannot hold this."""
    whole, into = restoring(source), restoring(target)
    if whole is not None and into is not None:
        return await copy_whole(whole, into, progress=progress)
    return await _copy_appends(source, target, progress)


# --- whole --------------------------------------------------------------------------------------------------------------


async def copy_whole(source: RestoringBackend, target: RestoringBackend, *, progress: Progress = unheard) -> Copied:
    head, done = await source.head(), await target.head()
    forgotten = merged(await source.forgotten())
    if done > 0:
        await _check_beginning(source, target, done, forgotten)
    appends, after = 0, done
    async for page in appends_upto(source, head, progress, after=done):
        last = page[-1].last
        await target.restore(source.log_id, page, _between(forgotten, after, last))
        appends, after = appends + len(page), last
    rest = _between(forgotten, after, head)
    if rest or done == 0:
        await target.restore(source.log_id, [], rest)
    await _check_end(source, target, head, forgotten)
    return Copied(True, source.log_id, target.log_id, head, appends)


async def _check_beginning(
    source: RestoringBackend, target: RestoringBackend, done: Position, forgotten: Sequence[Range]
) -> None:
    """Its last append, or what was forgotten there, is the source's: where there is a chain, so is all before it."""
    ours, theirs = await _at(source, done), await _at(target, done)
    begun = _between(forgotten, Position(0), done) == _between(merged(await target.forgotten()), Position(0), done)
    if source.log_id != target.log_id or ours != theirs or not begun:
        raise UsageError(
            f"the target holds log {target.log_id} up to position {done}, which is no beginning of log {source.log_id}",
            hint="copy into an empty store; what an interrupted copy left can be removed and begun anew",
        )


async def _check_end(
    source: RestoringBackend, target: RestoringBackend, head: Position, forgotten: Sequence[Range]
) -> None:
    upto = [each for each in merged(await source.forgotten()) if each[0] <= head]
    same = await target.head() == head and await _at(source, head) == await _at(target, head)
    if not same or upto != [each for each in forgotten if each[0] <= head] or merged(await target.forgotten()) != upto:
        raise LogUnusable(
            f"the copy is not what log {source.log_id} holds up to position {head}",
            hint="was the source compacted meanwhile? Remove the target, and copy again",
        )


async def _at(backend: RestoringBackend, position: Position) -> Kept | bytes | None:
    """The append that ends at the position; where it was forgotten, the link that is left of it."""
    for kept in await backend.read_kept(after=Position(position - 1), limit=1) if position > 0 else ():
        if kept.last == position:
            return replace(kept, append=replace(kept.append, expected=Expect.ANY))
    return next((link for _, last, link in await backend.forgotten() if last == position), None)


def _between(ranges: Iterable[Range], after: Position, upto: Position) -> list[Range]:
    """Those that end in `after` < position <= `upto`. Appends and ranges do not overlap, so that none is cut."""
    return [each for each in ranges if after < each[1] <= upto]


# --- append by append -------------------------------------------------------------------------------------------------------


async def _copy_appends(source: StoreBackend, target: StoreBackend, progress: Progress) -> Copied:
    """The target gives its own id and positions. Streams whose beginning was forgotten cannot be told to it."""
    head, known = await source.head(), await target.head()
    there = _events(target, known)
    left = known > 0
    appends, batch, seen = 0, list[Append](), set[str]()
    async for append in _appends(source, head, progress):
        _check_begins(append, seen)
        if left and (left := await _is_there(append, there)):
            continue
        batch.append(append)
        if len(batch) >= PAGE_EVENTS:
            appends += await _commit(target, batch)
            batch = []
    if left and await anext(there, None) is not None:
        raise _other(target)
    appends += await _commit(target, batch) if batch else 0
    return Copied(False, source.log_id, target.log_id, await target.head(), appends)


def _check_begins(append: Append, seen: set[str]) -> None:
    """UsageError: this is the first append of its stream, and is not its beginning."""
    if append.stream not in seen:
        seen.add(append.stream)
        if append.expected != Version(0):
            raise UsageError(
                f"stream {append.stream} begins at version {append.expected}, as runs were forgotten, and the target counts from 1",
                hint="copy into a store that takes copies whole (SQLite, PostgreSQL)",
            )


async def _is_there(append: Append, there: AsyncGenerator[Recorded]) -> bool:
    """Whether the target has the append next. UsageError: it has another."""
    for index, event in enumerate(append.events):
        found = await anext(there, None)
        if found is None and index == 0:
            return False
        same = found is not None and (found.stream, found.append_id, found.type, found.data) == (
            append.stream, append.append_id, event.type, event.data,
        )  # fmt: skip
        if not same:
            raise UsageError(
                f"the target holds something else than the source where append {append.append_id!r} to {append.stream} belongs",
                hint="copy into an empty store",
            )
    return True


async def _commit(target: StoreBackend, batch: Sequence[Append]) -> int:
    for append, outcome in zip(batch, await target.commit(batch), strict=True):
        match outcome:
            case Appended() | Duplicate(same=True):
                continue
            case _:
                raise UsageError(
                    f"the target refused append {append.append_id!r} to stream {append.stream}: {outcome}",
                    hint="nobody else may write to the target while it is copied to",
                )
    return len(batch)


async def _appends(source: StoreBackend, head: Position, progress: Progress) -> AsyncGenerator[Append]:
    """The source's appends, put together again from their events."""
    open_: list[Recorded] = []
    async for page in events_upto(source, head, progress):
        for _, events in groupby(page, key=lambda event: (event.stream, event.append_id)):
            more = list(events)
            if open_ and (open_[0].stream, open_[0].append_id) != (more[0].stream, more[0].append_id):
                yield _append_of(open_)
                open_ = []
            open_ += more
    if open_:
        yield _append_of(open_)


def _append_of(events: Sequence[Recorded]) -> Append:
    first = events[0]
    return Append(
        stream=first.stream,
        events=tuple(NewEvent(type=event.type, schema=event.schema, data=event.data) for event in events),
        expected=Version(first.version - 1),
        append_id=first.append_id,
        actor=first.actor,
        recorded_at=first.recorded_at,
        epoch=first.epoch,
        first_seq=first.seq,
    )


async def _events(backend: StoreBackend, upto: Position) -> AsyncGenerator[Recorded]:
    async for page in events_upto(backend, upto, lambda done, whole: None):
        for event in page:
            yield event


def _other(target: StoreBackend) -> UsageError:
    return UsageError(f"the target, log {target.log_id}, holds more than the source", hint="copy into an empty store")
