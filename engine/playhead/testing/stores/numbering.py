"""Positions without gaps, and the hash chain: what a store offers by DENSE and CHAINED. Checks only."""

from __future__ import annotations

from playhead.core.names import Position
from playhead.log import encode
from playhead.log.chain import LINK_BYTES, digest, link
from playhead.ports.store import Capability, Expect, Kept, RestoringBackend
from playhead.testing.checks import expect
from playhead.testing.stores.declared import chained, require
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, all_pages, new_append, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def positions_have_no_gaps(place: Place) -> None:
    """Nor where a conflict or a duplicate was refused, a batch failed, or the store was closed in between."""
    await require(place, Capability.DENSE)
    async with place() as store:
        start, known = (await write(store, new_stream())).last, new_append(new_stream(), 2)
        await store.commit([known])
        for _ in range(3):
            refused = new_append(known.stream, expected=Expect.NO_STREAM)
            await store.commit([new_append(new_stream(), 2), known, refused, new_append(new_stream())])
            await store.commit([refused])
            await store.commit([known])
    async with place() as store:
        await write(store, new_stream(), 3)
        positions = [event.position for event in await all_pages(store, start, EVERYTHING)]
        wanted = list(range(start + 1, start + 1 + len(positions)))
        expect(positions == wanted, f"positions behind {start} are {positions}")


@STORE_CHECKS.check
async def each_append_is_chained_to_the_one_before(place: Place) -> None:
    """The links are those that `playhead.log.chain` computes from what is read, over batches and a reopening."""
    async with chained(place) as store:
        start, known = await store.head(), new_append(new_stream(), 2, epoch=7)
        await write(store, new_stream())
        text = {"b": "Zürich 東京 🚀", "a": [1, 2.5, None, {"deep": True}]}
        refused = new_append(known.stream, expected=Expect.NO_STREAM)
        await store.commit([known, new_append(new_stream(), 3, data=text, actor="agent/ß")])
        await store.commit([known, refused, new_append(known.stream, data={}), new_append(new_stream())])
    async with chained(place) as store:
        await write(store, new_stream())
        await expect_chain(store, after=start, appends=6)


async def expect_chain(store: RestoringBackend, *, after: Position, appends: int) -> None:
    """The first append behind `after` gives the link to begin with: what lies before it is none of the check's."""
    first, *others = await all_kept(store, after)
    expect(len(others) + 1 == appends, f"{appends} appends are read by read_kept as {len(others) + 1}")
    before = first.link
    for kept in (first, *others):
        found = kept.link
        expect(found is not None and len(found) == LINK_BYTES, f"the append at {kept.last} has the link {found!r}")
    for kept in others:
        assert before is not None
        wanted = link(before, digest(kept.append, encode(kept.append)), last=kept.last, version=kept.version)
        expect(
            kept.link == wanted, f"the link of the append at position {kept.last} does not follow from the one before"
        )
        before = kept.link


async def all_kept(store: RestoringBackend, after: Position) -> list[Kept]:
    """Every append that ends behind `after`, read a few at a time."""
    kept: list[Kept] = []
    while page := await store.read_kept(after=after, limit=100):
        kept += page
        after = page[-1].last
    return kept
