"""The cache of states: bounded, never ahead of the log, and read on from where it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from playhead.core.names import StreamName, Version
from playhead.core.replay import Replay
from playhead.log import Log
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.ports.store import Append, Expect, NewEvent, Recorded
from playhead.service import service as service_module
from playhead.service.folds import Folds, one_by_one
from playhead.testing.clock import START
from tests.service.faulty import FaultyStore
from tests.service.world import ADOPTED, open_world, submitted
from tests.stores import new_backend


@dataclass(frozen=True)
class Seen:
    """Which events a state was made of: folding one twice, or leaving one out, shows."""

    version: Version
    words: tuple[str, ...]


def step(state: Seen | None, recorded: Recorded) -> Seen:
    return Seen(recorded.version, (*(state.words if state else ()), str(recorded.data["word"])))


def folds(store: FaultyStore, max_weight: int = 100) -> Folds[Seen]:
    return Folds(store, one_by_one(step), weight=lambda seen: len(seen.words), max_weight=max_weight)


async def say(store: FaultyStore, stream: str, *words: str) -> None:
    for word in words:
        event = NewEvent(type="said", schema=1, data={"word": word})
        await store.append(
            Append(
                stream=StreamName(stream),
                events=(event,),
                expected=Expect.ANY,
                append_id=word,
                actor="server",
                recorded_at=START,
            )
        )


A = StreamName("a")


async def test_a_state_is_read_on_from_where_it_is_kept() -> None:
    async with Log.open(await new_backend()) as log:
        store = FaultyStore(log)
        states = folds(store)
        assert await states.fresh(A) is None
        await say(store, "a", "one", "two")
        assert await states.known(A) == Seen(Version(2), ("one", "two"))
        await say(store, "a", "three")
        assert await states.known(A) == Seen(Version(2), ("one", "two")), "kept, and behind"
        assert await states.fresh(A) == Seen(Version(3), ("one", "two", "three"))
        assert store.stream_reads == [("a", 0), ("a", 0), ("a", 2)]


async def test_events_that_were_read_already_are_not_read_again() -> None:
    async with Log.open(await new_backend()) as log:
        store = FaultyStore(log)
        states = folds(store)
        await say(store, "a", *"abcdef")
        events = [recorded async for page in log.read_stream(A) for recorded in page]
        assert (await states.seen(A, events[:2])).words == tuple("ab")
        assert (await states.seen(A, events[1:4])).words == tuple("abcd"), "an overlap counts once"
        assert (await states.seen(A, events[:1])).words == tuple("abcd"), "a kept state may be newer"
        assert store.stream_reads == []
        assert (await states.seen(A, events[5:])).words == tuple("abcdef"), "what lies between is read"
        assert store.stream_reads == [("a", 4)]


async def test_the_heaviest_load_keeps_within_the_limit_and_forgets_the_oldest() -> None:
    async with Log.open(await new_backend()) as log:
        store = FaultyStore(log)
        states = folds(store, max_weight=5)
        for stream in "abcdefgh":
            await say(store, stream, "one", "two")
            await states.fresh(StreamName(stream))
            assert len(states) <= 2
        store.stream_reads.clear()
        await states.known(StreamName("h"))
        await states.known(A)
        assert store.stream_reads == [("a", 0)]
        await say(store, "a", *"0123456789")
        assert (await states.fresh(A)) is not None
        assert len(states) == 1, "one that is heavier than the limit is still kept: it is being worked on"


async def test_an_older_state_does_not_replace_a_newer_one() -> None:
    async with Log.open(await new_backend()) as log:
        states = folds(FaultyStore(log))
        newer, older = Seen(Version(5), ("x",)), Seen(Version(4), ("y",))
        states.keep(A, newer)
        states.keep(A, older)
        assert await states.known(A) == newer


async def test_what_a_command_appended_is_not_folded_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that was decided is kept before the projector sees its events: a fold is most of what an event costs a server."""
    folded: list[str] = []

    class Counted(Replay):
        def add(self, events: Iterable[Recorded], /) -> None:
            events = list(events)
            folded.extend(recorded.type for recorded in events)
            super().add(events)

    monkeypatch.setattr(service_module, "Replay", Counted)
    async with open_world() as world:
        claimed = await world.running()
        await world.seen()
        folded.clear()
        await world.report(claimed, 0, ADOPTED, submitted("a"), submitted("b"))
        await world.seen()
        assert await world.state() == "running"
        assert folded == []


async def test_a_stream_whose_beginning_was_forgotten_is_told_anew_by_what_is_left() -> None:
    """As where another process removed it, while this one had read a part: what was kept does not go before what is left."""
    records = MemoryRecords()
    async with Log.open(MemoryBackend(records)) as log:
        store = FaultyStore(log)
        behind, seeing = folds(store), folds(store)
        await say(store, "a", "one", "two")
        for states in (behind, seeing):
            await states.fresh(A)
        await say(store, "a", "three", "four")
        await MemoryBackend(records).forget(A, upto=Version(3))
        left = Seen(Version(4), ("four",))
        assert await behind.fresh(A) == left
        newest = await MemoryBackend(records).read_stream(A, after=Version(0), limit=10)
        assert await seeing.seen(A, newest) == left
