"""The same append again: known by its id in its stream, compared by its body. Checks only."""

from __future__ import annotations

from playhead.core.names import Version
from playhead.ports.store import Appended, Duplicate, Expect
from playhead.testing.checks import expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.samples import EVERYTHING, commit_one, duplicate_of, new_append, new_id, new_stream, write
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def the_same_append_is_a_duplicate(place: Place) -> None:
    async with place() as store:
        append = new_append(new_stream(), 2)
        first = await commit_one(store, append)
        again = await commit_one(store, append)
        expect(again == duplicate_of(first), f"after {first} the second gave {again}")
        found = await store.read_stream(append.stream, after=Version(0), limit=EVERYTHING)
        expect(len(found) == 2, f"two events, sent twice, are {len(found)}")


@STORE_CHECKS.check
async def a_duplicate_in_the_same_batch(place: Place) -> None:
    async with place() as store:
        append = new_append(new_stream())
        first, again = await store.commit([append, append])
        expect(isinstance(first, Appended), f"the first gave {first}")
        expect(isinstance(again, Duplicate) and again.same, f"the second, in the same batch, gave {again}")


@STORE_CHECKS.check
async def another_body_under_the_same_id(place: Place) -> None:
    async with place() as store:
        stream, append_id = new_stream(), new_id()
        await store.commit([new_append(stream, 2, append_id=append_id, epoch=3, data={"a": 1, "b": 2})])
        others = {
            "other data": new_append(stream, 2, append_id=append_id, epoch=3, data={"a": 1, "b": 3}),
            "fewer events": new_append(stream, 1, append_id=append_id, epoch=3, data={"a": 1, "b": 2}),
            "another epoch": new_append(stream, 2, append_id=append_id, epoch=4, data={"a": 1, "b": 2}),
            "no epoch": new_append(stream, 2, append_id=append_id, data={"a": 1, "b": 2}),
        }
        for what, other in others.items():
            outcome = await commit_one(store, other)
            expect(isinstance(outcome, Duplicate) and not outcome.same, f"{what} under the same id gave {outcome}")
        reordered = await commit_one(store, new_append(stream, 2, append_id=append_id, epoch=3, data={"b": 2, "a": 1}))
        expect(isinstance(reordered, Duplicate) and reordered.same, f"the same data in another order gave {reordered}")


@STORE_CHECKS.check
async def actor_and_time_are_outside_the_comparison(place: Place) -> None:
    """A successor reports what its predecessor wrote, under its own name, later, expecting something else."""
    async with place() as store:
        stream, append_id = new_stream(), new_id()
        await store.commit([new_append(stream, append_id=append_id, actor="runner/1")])
        again = new_append(stream, append_id=append_id, actor="runner/2", recorded_at=99, expected=Version(5))
        outcome = await commit_one(store, again)
        expect(isinstance(outcome, Duplicate) and outcome.same, f"the same body by another actor gave {outcome}")
        (kept,) = await store.read_stream(stream, after=Version(0), limit=EVERYTHING)
        expect(kept.actor == "runner/1", f"the event is now by {kept.actor}")


@STORE_CHECKS.check
async def duplicate_is_decided_before_conflict(place: Place) -> None:
    async with place() as store:
        append = new_append(new_stream(), expected=Expect.NO_STREAM)
        await store.commit([append, new_append(append.stream)])
        outcome = await commit_one(store, append)
        expect(isinstance(outcome, Duplicate) and outcome.same, f"a known append that no longer fits gave {outcome}")


@STORE_CHECKS.check
async def an_append_id_belongs_to_its_stream(place: Place) -> None:
    async with place() as store:
        append_id = new_id()
        for _ in range(2):
            outcome = await commit_one(store, new_append(new_stream(), append_id=append_id))
            expect(isinstance(outcome, Appended), f"the same id in another stream gave {outcome}")


@STORE_CHECKS.check
async def duplicates_are_known_after_reopening(place: Place) -> None:
    append = new_append(new_stream(), 3, epoch=1)
    async with place() as store:
        first = await commit_one(store, append)
        await write(store, append.stream)
    async with place() as store:
        again = await commit_one(store, append)
        expect(again == duplicate_of(first), f"after {first} and a reopening it gave {again}")
