"""The two ports of the log. `EventStore` is what the engine uses; `StoreBackend` is the small thing a user plugs in.

What a backend may offer beyond the base contract it declares by `Capability`; where methods go with it, they are in a protocol of
their own: `SharedBackend`, `ForgettingBackend`, `RestoringBackend`.

The log knows streams, versions and positions; it does not know the vocabulary. Event data is a JSON object.

Its values are msgspec structs: a frozen dataclass of twelve fields takes ten times as long to make, and a read makes one for
each event. `gc=False`, because what they hold is JSON and numbers, which never lead back to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum, StrEnum
from typing import Any, Protocol, final

import msgspec

from playhead.core.names import Epoch, LogId, Micros, Position, Seq, StreamName, Version


class NewEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event to be appended. `data` holds JSON types only and is never changed once handed over."""

    type: str  # stable short name, "task.succeeded"
    schema: int  # version of that type's fields, from 1
    data: Mapping[str, Any]


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as the log keeps it."""

    position: Position
    stream: StreamName
    version: Version
    recorded_at: Micros
    type: str
    schema: int
    actor: str  # who reported it: "server", "client", "agent/<id>", "runner/<epoch>"
    data: Mapping[str, Any]
    append_id: str  # the append that brought it
    index: int  # its place in that append, from 0
    epoch: Epoch | None = None  # journal it comes from, for a runner's events
    seq: Seq | None = None  # its record's number in that journal


class Expect(Enum):
    """What an append expects of its stream, beside an exact `Version`."""

    ANY = "any version"
    NO_STREAM = "no stream"


Expected = Version | Expect


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Events for one stream that become visible together or not at all.

    `append_id` is unique within its stream and makes the append idempotent. `epoch` and `first_seq` are set for a
    runner's batch: event i is record `first_seq + i` of the journal of `epoch`. `actor` is outside the comparison of
    bodies, because a successor may report what its predecessor wrote.
    """

    stream: StreamName
    events: tuple[NewEvent, ...]  # at least one
    expected: Expected
    append_id: str
    actor: str
    recorded_at: Micros
    epoch: Epoch | None = None
    first_seq: Seq | None = None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """Durable. The events' positions are `first..last`, both ends included, ascending (gaps allowed)."""

    first: Position
    last: Position
    version: Version  # of the append's last event


@final  # so that what is not one is known by its type, which is looked at for each append
class Conflict(msgspec.Struct, frozen=True, gc=False):
    """Not written: the stream stands at `actual`."""

    actual: Version


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """This append id is in the stream already. `same` says whether its body (events, epoch, first_seq) is equal."""

    first: Position
    last: Position
    version: Version
    same: bool


Outcome = Appended | Conflict | Duplicate


class Page(msgspec.Struct, frozen=True, gc=False):
    """Events in order, and the position up to which (included) the log was scanned to find them."""

    events: tuple[Recorded, ...]
    scanned: Position


class Capability(StrEnum):
    """What a backend offers beyond the base contract. The conformance suite holds it to what it declares."""

    SHARED = "shared"  # several processes may have it open on one log, and commit: a `SharedBackend`
    WAKES = "wakes"  # `wait_for_news` returns at once for what other processes commit; without it the engine's poll finds that
    DENSE = "dense"  # positions have no gaps, but for what was forgotten
    CHAINED = "chained"  # each append is kept with its link of a hash chain over the whole log (`playhead.log.chain`)
    FORGETS = "forgets"  # whole streams can be removed: a `ForgettingBackend`
    RESTORES = "restores"  # it can be made a copy of another log, with its id and positions: a `RestoringBackend`


class StoreBackend(Protocol):
    """What a user plugs in. One engine process owns a backend and makes one `commit` at a time; reads run beside it.

    Contract:

    * `commit` returns one outcome for each append, in order. Earlier appends of the batch are seen by later ones (two
      appends to one stream in a batch: the second's expected version counts the first). A conflict or duplicate fails
      that append alone. Everything reported `Appended` is durable: it survives a loss of power. If the backend cannot
      know what happened it raises `OutcomeUnknown`, and the same batch under the same ids settles it. Any other error
      means that nothing was written.
    * Duplicate is decided before conflict: an append id known in its stream is a `Duplicate`, whatever was expected.
    * Positions strictly increase, gaps are allowed, and nothing becomes visible below a position already read.
      Versions of a stream are contiguous from 1.
    * Reads see only what is durable, and see an append whole or not at all (a page may end inside one).
    * Cancelling any call leaves no half transaction and no lock behind; a cancelled commit may still happen.
    * Errors are of `playhead.errors`: `LogUnusable` says what is wrong with the log and what to do.
    """

    @property
    def log_id(self) -> LogId: ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset()

    @property
    def restored(self) -> Position | None:
        """Where the log had ended once, if it is an older copy of itself by now: then its id is new, and no lease that it knows
        may go on. None where it is not, and where the backend cannot know."""
        return None

    async def accept_restored(self) -> None:
        """What a restore asks for is done, durably: from now on `restored` is None."""
        assert self.restored is None, "a backend that can tell must be told"

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]: ...

    async def read_stream(self, stream: StreamName, *, after: Version, limit: int) -> list[Recorded]:
        """Up to `limit` events of the stream with version > `after`, in order. Fewer means there are no more."""
        ...

    async def read_all(self, *, after: Position, limit: int) -> Page:
        """Up to `limit` events with position > `after`, in order."""
        ...

    async def head(self) -> Position:
        """The position of the newest durable event, or 0."""
        ...

    async def wait_for_news(self, after: Position, timeout_seconds: float) -> None:
        """Return when there may be something beyond `after`, or at the timeout. A hint only: the read is the delivery."""
        ...

    async def close(self) -> None:
        """Let go of what it holds, when no call uses it any more: those under way end first, or with LogUnusable."""
        ...


class Leading(msgspec.Struct, frozen=True, gc=False):
    """Who leads the servers on a log. `term` counts up whenever the leader shows that it lives, and whenever it changes."""

    server: str
    term: int


class Counted(msgspec.Struct, frozen=True, gc=False):
    """Keys of which signs of life were counted, each once, and up to where in the counting."""

    keys: frozenset[str]
    upto: int


class SharedBackend(StoreBackend, Protocol):
    """Several servers on one log. What they tell each other here is not in the log and need not be durable: a loss of it costs
    everyone a full lease, and nothing else."""

    async def leading(self) -> Leading | None:
        """Who led last; None if nobody ever did."""
        ...

    async def lead(self, server: str, *, after: int) -> int | None:
        """Lead, or go on leading, if the term is `after` (0 where nobody is known to have led). The new term: `after` + 1, but for the
        first, which begins at the store's clock, in microseconds, so that none comes twice where the store forgets. None: it is another.
        """
        ...

    async def hear(self, signs: Collection[str]) -> None:
        """Count one more sign of life for each of these keys, of which none is empty. On return every `heard` tells it."""
        ...

    async def heard(self, *, after: int) -> Counted:
        """The keys that were counted since the answer whose `upto` this is; since 0: all, but one that nobody counted for a day may
        be missing. A key may come that was not counted since, as when the counts were lost; one that was never stays away."""
        ...


class ForgettingBackend(StoreBackend, Protocol):
    """Removal of what is over. What is left of it are the positions, which are never given again, and whatever the engine appends
    behind it in the same stream."""

    async def forget(self, stream: StreamName, *, upto: Version) -> int:
        """Remove the stream's events up to that version, which an append ends with, durably; how many were removed. Those behind
        keep their versions, and the next append's is counted on from the newest that the stream ever had."""
        ...

    async def is_forgotten(self, position: Position) -> bool:
        """Whether an event stood there and was removed."""
        ...


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An append as it is kept: for copies, which keep all of it. `link` is None where there is no chain."""

    append: Append  # whose `expected` says nothing any more
    last: Position
    version: Version
    link: bytes | None


class RestoringBackend(StoreBackend, Protocol):
    async def read_kept(self, *, after: Position, limit: int) -> Sequence[Kept]:
        """Up to `limit` appends that end behind `after`, in order."""
        ...

    async def forgotten(self) -> Sequence[tuple[Position, Position, bytes | None]]:
        """The positions that were removed, as ranges (first, last, both included) in order; and the link that the chain had at the
        range's end."""
        ...

    async def restore(
        self,
        log_id: LogId,
        kept: Sequence[Kept],
        forgotten: Sequence[tuple[Position, Position, bytes | None]] = (),
    ) -> None:
        """Take these over, durably, behind what was taken over before. Only for a log that nothing else was appended to."""
        ...


class Ack(msgspec.Struct, frozen=True, gc=False):
    """An append that is durable. `duplicate` tells that an earlier request had brought it already."""

    first: Position
    last: Position
    version: Version
    duplicate: bool = False


class Subscription(Protocol):
    """Pages in order from the cursor on, each event once. A page without events only moves the scanned position.

    A subscriber that falls more than the stated number of events behind what is buffered is not dropped an event: it is
    served from the store again.
    """

    def __aiter__(self) -> AsyncIterator[Page]: ...


class EventStore(Protocol):
    """What the engine uses: appends with outcomes as errors, whole reads, and subscriptions.

    * `append` returns when the events are durable. Raises `WrongVersion`, `AppendMismatch`, or `LogUnusable`; an unknown
      outcome is settled inside by appending the same id again, and only if that fails too raises `OutcomeUnknown`.
    * Cancelling an append does not undo it.
    """

    @property
    def log_id(self) -> LogId: ...

    @property
    def shared(self) -> SharedBackend | None:
        """The backend, where several servers may be on this log; None where this one is alone, always."""
        return None

    @property
    def restored(self) -> Position | None:
        """As the backend's."""
        return None

    async def accept_restored(self) -> None:
        """As the backend's."""
        assert self.restored is None, "a store that can tell must be told"

    async def append(self, append: Append) -> Ack: ...

    def read_stream(
        self, stream: StreamName, *, after: Version = Version(0), upto: Version | None = None
    ) -> AsyncIterator[Sequence[Recorded]]:
        """Events with `after` < version <= `upto`, in order, page by page: each read of the store is one, and none is empty."""
        ...

    async def read_all(self, *, after: Position, limit: int = 1000) -> Page: ...

    async def head(self) -> Position: ...

    async def first_bytes(self, position: Position) -> str:
        """First bytes of the append id at that position, hashed, for cursors; "" for position 0 or no such event."""
        ...

    async def is_forgotten(self, position: Position) -> bool:
        """Whether an event stood there and was removed: a cursor from there counts, although nothing can be compared with it."""
        return False

    def subscribe(self, *, after: Position) -> AbstractAsyncContextManager[Subscription]: ...

    async def close(self) -> None: ...
