"""What an event may hold: any JSON, any text, large and in large numbers. Checks only."""

from __future__ import annotations

from typing import Any, Final

from playhead.core.names import StreamName, Version
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, new_append, new_stream
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
async def large_events_are_kept(place: Place) -> None:
    async with place() as store:
        stream, text = new_stream(), "x" * LARGE_BYTES
        await store.commit([new_append(stream, data={"text": text}), new_append(stream, 500)])
        found = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 501, f"a large event and 500 small ones are {len(found)}")
        expect(found[0].data["text"] == text, f"{LARGE_BYTES} letters came back as {len(found[0].data['text'])}")
