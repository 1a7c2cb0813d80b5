"""What goes wrong is told in words that somebody can act on, and leaves nothing behind. Checks only."""

from __future__ import annotations

import asyncio
from asyncio import Future, ensure_future
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from playhead.core.names import Position, Version
from playhead.errors import LogError, LogUnusable, OutcomeUnknown, PlayheadError, UsageError
from playhead.testing.checks import CheckFailed, expect
from playhead.testing.stores.place import Place, factory_at
from playhead.testing.stores.samples import EVERYTHING, commit_one, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS

NOT_JSON: Final[tuple[dict[str, Any], ...]] = (
    {"object": object()},
    {"bytes": b"x"},
    {"set": {1}},
    {"a moment": datetime(2026, 1, 1, tzinfo=UTC)},
    {"deep": [{"in": [1j]}]},
)

READS: Final = 8  # under way when the store is closed
READ_EVENTS: Final = 500
CLOSINGS: Final = 4  # each at another moment

T = TypeVar("T")


@STORE_CHECKS.check
async def data_that_is_not_json_is_refused(place: Place) -> None:
    """With a UsageError: the engine then fails that append, and no other one."""
    async with place() as store:
        stream = new_stream()
        for data in NOT_JSON:
            told = await _told(store.commit([new_append(stream, data=data)]), f"data {data}")
            expect(
                isinstance(told, UsageError), f"data {data} is refused by {type(told).__name__}, not UsageError: {told}"
            )
        outcome = await write(store, stream)
        expect(outcome.version == 1, f"after data that was refused a stream's first version is {outcome.version}")


@STORE_CHECKS.check
async def a_batch_that_fails_writes_nothing(place: Place) -> None:
    """An error means that no append of the batch was written: the engine sends the good ones again."""
    async with place() as store:
        head, before, behind = await store.head(), new_append(new_stream(), 2), new_append(new_stream())
        bad = new_append(new_stream(), data={"object": object()})
        await _told(store.commit([before, bad, behind]), "a batch with data that is not JSON")
        for append in (before, behind):
            found = await store.read_stream(append.stream, after=Version(0), limit=EVERYTHING)
            expect(not found, f"a batch failed, and {len(found)} events of it are there")
        expect(await store.head() == head, f"a batch failed, and the head went from {head} to {await store.head()}")
        for append in (before, behind):
            outcome = await commit_one(store, append)
            count = len(await store.read_stream(append.stream, after=Version(0), limit=EVERYTHING))
            expect(
                count == len(append.events), f"sent again after the failure, an append gave {outcome}: {count} events"
            )


@STORE_CHECKS.check
async def a_closed_store_says_so(place: Place) -> None:
    """By LogUnusable; a store that has nothing to close may go on. No call hangs, and none fails by accident."""
    async with place() as store:
        stream = new_stream()
        await write(store, stream)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "commit": lambda: store.commit([new_append(stream)]),
        "read_stream": lambda: store.read_stream(stream, after=Version(0), limit=1),
        "read_all": lambda: store.read_all(after=Position(0), limit=1),
        "head": store.head,
    }
    for name, call in calls.items():
        try:
            await asyncio.wait_for(call(), place.patience_seconds)
        except LogError as error:
            expect(isinstance(error, LogUnusable), f"{name} of a closed store raises {type(error).__name__}: {error}")
            expect(error.hint, f"{name} of a closed store says {error.message!r}, and not what to do (`hint`)")
        except TimeoutError as error:
            raise CheckFailed(f"{name} of a closed store did not end within {place.patience_seconds:g} s") from error
        except Exception as error:
            raise CheckFailed(
                f"{name} of a closed store raises {type(error).__name__}, not LogUnusable: {error}"
            ) from error


@STORE_CHECKS.check
async def what_is_under_way_ends_when_it_is_closed(place: Place) -> None:
    """Whole, or with LogUnusable, and a commit maybe with OutcomeUnknown: nothing is closed under a call that uses it."""
    stream = new_stream()
    async with place() as store:
        for _ in range(10):
            await commit_one(store, new_append(stream, READ_EVENTS // 10))
    for turn in range(CLOSINGS):
        append = new_append(new_stream(), 3)
        async with place() as store:
            reads = [ensure_future(store.read_stream(stream, after=Version(0), limit=EVERYTHING)) for _ in range(READS)]
            commit = ensure_future(store.commit([append]))
            for _ in range(turn):
                await asyncio.sleep(0)
        await _all_ended([*reads, commit], place.patience_seconds)
        for read in reads:
            found = _unless_closed(read, "a read")
            expect(
                found is None or len(found) == READ_EVENTS,
                f"a read of {READ_EVENTS} events gave {found and len(found)}",
            )
        written = _unless_closed(commit, "a commit") is not None
        async with place() as store:
            count = len(await store.read_stream(append.stream, after=Version(0), limit=EVERYTHING))
        known = "was acknowledged" if written else "failed"
        expect(
            count == 3 or (count == 0 and not written),
            f"a commit of 3 events {known} while the store was closed: {count} are there",
        )


@STORE_CHECKS.check
async def a_place_that_cannot_be_used_is_told(place: Place) -> None:
    """A file where a folder should be, or a host where nobody listens: LogUnusable or UsageError, and what to do."""
    with place.unusable() as (url, what):
        try:
            async with asyncio.timeout(3 * place.patience_seconds), factory_at(url)():
                pass
        except (LogUnusable, UsageError) as error:
            expect(error.hint, f"opening {what} says {error.message!r}, and not what to do (`hint`)")
        except TimeoutError as error:
            raise CheckFailed(f"opening {what} did not end") from error
        except Exception as error:
            raise CheckFailed(f"opening {what} raises {type(error).__name__}, not LogUnusable: {error}") from error
        else:
            raise CheckFailed(f"{what} was opened")


async def _all_ended(calls: Collection[Future[Any]], patience_seconds: float) -> None:
    ended, left = await asyncio.wait(calls, timeout=patience_seconds)
    for call in left:
        call.cancel()
    await asyncio.gather(*ended, return_exceptions=True)  # the first error is told, the others to nobody
    expect(not left, f"a store was closed, and {len(left)} calls that were under way do not end")


def _unless_closed(call: Future[T], what: str) -> T | None:
    try:
        return call.result()
    except (LogUnusable, OutcomeUnknown):
        return None
    except Exception as error:
        raise CheckFailed(
            f"{what} under way when the store is closed raises {type(error).__name__}, not LogUnusable: {error}"
        ) from error


async def _told(call: Awaitable[object], what: str) -> PlayheadError:
    """The error, which must be one of ours: others mean a defect to whoever sees them."""
    try:
        done = await call
    except PlayheadError as error:
        return error
    except Exception as error:
        raise CheckFailed(f"{what}: {type(error).__name__}, which is none of playhead.errors: {error}") from error
    raise CheckFailed(f"{what} was taken: {done}")
