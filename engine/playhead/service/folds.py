"""States of streams, folded from the log and kept while there is room. Owns the cache; decides nothing and appends nothing.

A kept state may be behind the log (another replica may have appended), but is never ahead of it and never wrong: what is
kept was read from the store, or was folded from events that the store has acknowledged. A stream whose beginning was forgotten is told
anew by the first event that is left: where versions do not follow on, what was kept begins again with that one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from playhead.core.names import StreamName, Version
from playhead.ports.store import EventStore, Recorded


class Versioned(Protocol):
    @property
    def version(self) -> Version: ...


S = TypeVar("S", bound=Versioned)
S_co = TypeVar("S_co", bound=Versioned, covariant=True)


class Fold(Protocol[S_co]):
    """A state in the making: it begins with one, or with none, and takes a stream's next events."""

    def add(self, events: Iterable[Recorded], /) -> None: ...

    def state(self) -> S_co | None:
        """The state so far; None if there was no event."""
        ...


class Folds(Generic[S]):
    """The states of one kind of stream; the least recently used go first when their weights exceed the limit.

    `recall` gives a state of a stream of which none is kept, which may be behind the log, or None: then it is folded from the start.
    """

    def __init__(
        self,
        store: EventStore,
        begin: Callable[[S | None], Fold[S]],
        *,
        weight: Callable[[S], int],
        max_weight: int,
        recall: Callable[[StreamName], Awaitable[S | None]] | None = None,
    ) -> None:
        self._store = store
        self._begin = begin
        self._weight = weight
        self._max_weight = max_weight
        self._recall = recall
        self._kept: OrderedDict[StreamName, S] = OrderedDict()
        self._total = 0

    def kept(self, stream: StreamName) -> S | None:
        """The kept state, which may be behind the log; None says only that none is kept."""
        return self._kept.get(stream)

    async def known(self, stream: StreamName) -> S | None:
        """The kept state, which may be behind the log, or else the newest; None if the stream has no event."""
        kept = self._kept.get(stream)
        return kept if kept is not None else await self.fresh(stream)

    async def fresh(self, stream: StreamName) -> S | None:
        """The newest state. Reads only what the kept one has not seen."""
        state = self._kept.get(stream)
        if state is None and self._recall is not None:
            state = await self._recall(stream)
        after = state.version if state is not None else Version(0)
        fold = None
        async for events in self._store.read_stream(stream, after=after):
            if fold is None or events[0].version != after + 1:
                fold = self._begin(state if events[0].version == after + 1 else None)
            fold.add(events)
            after = events[-1].version
        state = fold.state() if fold is not None else state
        if state is not None:
            self.keep(stream, state)
        return state

    async def seen(self, stream: StreamName, events: Sequence[Recorded]) -> S:
        """A state that has seen these events of the stream, which are contiguous. It may have seen later ones too."""
        state = self._kept.get(stream)
        version = state.version if state is not None else 0
        if version < events[0].version - 1:
            state = await self.fresh(stream)
            version = state.version if state is not None else 0
        unseen = [recorded for recorded in events if recorded.version > version]
        if unseen:
            fold = self._begin(state if unseen[0].version == version + 1 else None)
            fold.add(unseen)
            state = fold.state()
        assert state is not None, "a stream whose event was read has a state"
        self.keep(stream, state)
        return state

    def keep(self, stream: StreamName, state: S) -> None:
        """Remember the state, unless a newer one is kept."""
        before = self._kept.get(stream)
        if before is not None:
            if before.version > state.version:
                return
            self._total -= self._weight(before)
        self._kept[stream] = state
        self._kept.move_to_end(stream)
        self._total += self._weight(state)
        while self._total > self._max_weight and len(self._kept) > 1:
            self._total -= self._weight(self._kept.popitem(last=False)[1])

    def forget(self, stream: StreamName, *, before: Version) -> None:
        """Keep no state that is older than this version: the next who asks reads the log."""
        kept = self._kept.get(stream)
        if kept is not None and kept.version < before:
            self._total -= self._weight(self._kept.pop(stream))

    def __len__(self) -> int:
        return len(self._kept)


def one_by_one(step: Callable[[S | None, Recorded], S]) -> Callable[[S | None], Fold[S]]:
    """The fold of a step, for streams of few events: each event makes a state of its own."""
    return lambda state: _OneByOne(step, state)


class _OneByOne(Generic[S]):
    def __init__(self, step: Callable[[S | None, Recorded], S], state: S | None) -> None:
        self._step = step
        self._state = state

    def add(self, events: Iterable[Recorded], /) -> None:
        for recorded in events:
            self._state = self._step(self._state, recorded)

    def state(self) -> S | None:
        return self._state
