"""Every backend of ours passes the suite of store backends; each planted bug fails it by the name expected."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from eventsourcing.popo import POPOApplicationRecorder

from playhead.errors import UsageError
from playhead.log import open_backend
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.log.sqlite import url_for
from playhead.ports.store import StoreBackend
from playhead.testing.checks import Suite
from playhead.testing.stores import STORE_CHECKS, Place, StoreFactory, check_store
from playhead.testing.stores.following import waiting_for_news_returns
from playhead_adapters.stores.eventsourcing import open_recorder
from tests.conformance import planted_stores as planted

WAITING = waiting_for_news_returns.__name__


def place(open_it: Callable[[], Awaitable[StoreBackend]]) -> StoreFactory:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[StoreBackend]:
        backend = await open_it()
        try:
            yield backend
        finally:
            await backend.close()

    return factory


def memory(kind: type[MemoryBackend] = MemoryBackend) -> StoreFactory:
    records = MemoryRecords()

    async def open_it() -> StoreBackend:
        return kind(records)

    return place(open_it)


def places(folder: Path) -> dict[str, StoreFactory]:
    recorder = POPOApplicationRecorder()
    bridge = f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={folder}/bridge.db"
    return {
        "memory": memory(),
        "sqlite": place(lambda: open_backend(url_for(folder / "log.db"))),
        "eventsourcing-popo": place(lambda: open_recorder(recorder)),
        "eventsourcing-sqlite": place(lambda: open_backend(bridge)),
    }


@pytest.mark.parametrize("check", STORE_CHECKS.names)
@pytest.mark.parametrize("name", ["memory", "sqlite", "eventsourcing-popo", "eventsourcing-sqlite"])
async def test_every_backend_passes(name: str, check: str, tmp_path: Path) -> None:
    (result,) = await check_store(places(tmp_path)[name], only=[check])
    assert result.passed, result.problem


@pytest.mark.parametrize("name", ["memory", "sqlite", "eventsourcing-popo", "eventsourcing-sqlite"])
async def test_the_checks_may_share_a_log(name: str, tmp_path: Path) -> None:
    results = await check_store(places(tmp_path)[name])
    assert [result.problem for result in results if not result.passed] == []
    assert [result.name for result in results] == list(STORE_CHECKS.names)


PLANTED: list[tuple[type[MemoryBackend], str]] = [
    (planted.SkipsOnConflict, "what_is_acknowledged_is_there"),
    (planted.SkipsOnConflict, "an_exact_version_is_checked"),
    (planted.SkipsOnConflict, "no_stream_is_checked"),
    (planted.LosesTheBatch, "a_conflict_loses_nothing_else"),
    (planted.WritesEventByEvent, "an_append_is_whole_or_absent"),
    (planted.ForgetsTheBatch, "later_appends_of_a_batch_see_earlier_ones"),
    (planted.ForgetsDuplicates, "the_same_append_is_a_duplicate"),
    (planted.ForgetsDuplicates, "a_duplicate_in_the_same_batch"),
    (planted.ForgetsDuplicatesWhenClosed, "duplicates_are_known_after_reopening"),
    (planted.TakesAnyBody, "another_body_under_the_same_id"),
    (planted.ChecksTheVersionFirst, "duplicate_is_decided_before_conflict"),
    (planted.SharesAppendIds, "an_append_id_belongs_to_its_stream"),
    (planted.ChangesTheActor, "actor_and_time_are_outside_the_comparison"),
    (planted.NumbersWithGaps, "versions_are_contiguous_from_1"),
    (planted.IncludesAfter, "reading_a_stream_keeps_its_bounds"),
    (planted.ReadsPastTheLimit, "reading_all_keeps_its_bounds"),
    (planted.ReadsPastTheLimit, "pages_put_together_are_the_log"),
    (planted.FiltersAfterTheLimit, "a_limit_counts_the_events_of_the_stream"),
    (planted.ShowsOutOfOrder, "nothing_appears_below_what_was_read"),
    (planted.StaysBehind, "positions_increase_and_the_head_is_the_last"),
    (planted.StaysBehind, "unknown_streams_and_the_end_are_empty"),
    (planted.NewIdWhenOpened, "reopening_keeps_everything"),
    (planted.LosesTheLastOnClosing, "reopening_keeps_everything"),
    (planted.SpoilsText, "any_json_is_kept"),
    (planted.DropsTheJournal, "every_field_is_read_as_it_was_written"),
    (planted.TakesAnyForNone, "any_version_is_taken"),
    (planted.CutsLargeAppends, "large_events_are_kept"),
    (planted.HalfWhenCancelled, "cancelling_leaves_nothing_half_done"),
]


def test_every_check_is_shown_to_fail() -> None:
    assert {name for _, name in PLANTED} | {WAITING} == set(STORE_CHECKS.names)


@pytest.mark.parametrize(("kind", "found_by"), PLANTED)
async def test_a_planted_bug_is_found_by_name(kind: type[MemoryBackend], found_by: str) -> None:
    results = await check_store(memory(kind), only=set(STORE_CHECKS.names) - {WAITING})
    assert found_by in {result.name for result in results if not result.passed}


async def test_a_backend_that_never_tells_is_found_by_name() -> None:
    """With a limit of its own: the check waits as long as a healthy store would need, many times over."""
    suite: Suite[Place] = Suite("impatient", limit_seconds=0.2)
    suite.check(waiting_for_news_returns)
    (result,) = await suite.run(Place(memory(planted.NeverTells)))
    assert not result.passed
    assert result.problem is not None


async def test_an_unknown_check_is_named() -> None:
    with pytest.raises(UsageError, match="no_such_check"):
        await check_store(memory(), only=["no_such_check"])
