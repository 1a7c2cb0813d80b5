"""What an event may hold: any JSON, any text, large and in large numbers. Checks only."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from playhead.core.names import StreamName, Version
from playhead.ports.store import Appended, Expect
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, commit_one, new_append, new_id, new_stream
from playhead.testing.stores.suite import STORE_CHECKS

LARGE_BYTES: Final = 1_000_000


@STORE_CHECKS.check
async def any_json_is_kept(place: Place) -> None:
    data: dict[str, Any] = {
        "text": "Zürich 東京 🚀 \u0000 \u2028 \\ \" ' % ; --",
        "Ключ": [None, True, False, 0, -1, 2**53, 0.1, 1e300, [], {}],
        "deep": {"er": [{"and": {"deeper": ["ok"]}}]},
        "": "an empty key",
    }
    async with place() as store:
        stream = StreamName(f"{new_stream()}/ünïcode 東京")
        await store.commit([new_append(stream, data=data, actor="agent/ß")])
        (event,) = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(dict(event.data) == data, f"{data} was read as {event.data}")
        expect((event.stream, event.actor) == (stream, "agent/ß"), f"{stream} was read as {event.stream}")


@STORE_CHECKS.check
async def names_that_look_alike_are_kept_apart(place: Place) -> None:
    """Names and ids are compared letter by letter: no folding of case, no normal form of Unicode, no trimming."""
    async with place() as store:
        name = new_stream()
        alike = [
            f"{name}{end}"
            for end in ("/a", "/A", "/a ", "/\u00e9", "/e\u0301", "/ss", "/\u00df", "/%61", "/a/", "/a_", "/ab")
        ]
        for stream in map(StreamName, alike):
            outcome = await commit_one(store, new_append(stream, expected=Expect.NO_STREAM))
            expect(isinstance(outcome, Appended), f"a new stream {stream!r} beside others of like names gave {outcome}")
        ids = [*alike, a_hex := new_id(), a_hex.upper(), str(UUID(a_hex))]
        for append_id in ids:
            outcome = await commit_one(store, new_append(StreamName(f"{name}/ids"), append_id=append_id))
            expect(isinstance(outcome, Appended), f"a new append id {append_id!r} beside others like it gave {outcome}")
        kept = await store.read_stream(StreamName(f"{name}/ids"), after=Version(0), limit=EVERYTHING)
        found_ids = [event.append_id for event in kept]
        expect(found_ids == ids, f"the append ids {ids} are read as {found_ids}")
        for stream in map(StreamName, alike):
            found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
            expect([event.stream for event in found] == [stream], f"the stream {stream!r} is read as {found}")


@STORE_CHECKS.check
async def many_events_in_an_append_are_kept(place: Place) -> None:
    async with place() as store:
        stream = new_stream()
        await store.commit([new_append(stream, 500), new_append(stream, 2_000)])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect([event.version for event in found] == list(range(1, 2_501)), f"2,500 events are read as {len(found)}")


@STORE_CHECKS.check
async def large_events_are_kept(place: Place) -> None:
    """A megabyte, and eight: half of what a request to a server may hold."""
    async with place() as store:
        stream, texts = new_stream(), [letter * size for letter, size in (("x", LARGE_BYTES), ("y", 8 * LARGE_BYTES))]
        for text in texts:
            await store.commit([new_append(stream, data={"text": text}), new_append(stream)])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 4, f"two large events and two small ones are {len(found)}")
        for event, text in zip(found[::2], texts, strict=True):
            expect(event.data["text"] == text, f"{len(text):,} letters came back as {len(event.data['text']):,}")
