"""Every store of ours passes the conformance kit; each planted bug fails it by the names expected, and by no other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import pytest
from eventsourcing.popo import POPOApplicationRecorder

from playhead.errors import UsageError
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Capability
from playhead.testing import stores as kit
from playhead.testing.checks import CheckResult, Watcher
from playhead.testing.stores import STORE_CHECKS, StoreFactory, check_store
from playhead_adapters.stores.eventsourcing import open_recorder
from tests.conformance import planted_stores as planted
from tests.conformance.stores import memory, place

PROCESSES: Final = {
    "what_was_acknowledged_outlives_a_kill",
    "other_processes_write_the_same_log",
}  # what they start takes seconds
FAST: Final = [name for name in STORE_CHECKS.names if name not in PROCESSES]
VOLUME: Final = "a_long_log_is_read_page_by_page"
SQLITE: Final = "sqlite://{tmp}/log.db"
BRIDGE: Final = "eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={tmp}/log.db"


def popo() -> StoreFactory:
    recorder = POPOApplicationRecorder()
    return place(lambda: open_recorder(recorder))


STORES: Final[dict[str, Callable[[], StoreFactory | str]]] = {
    "memory": lambda: "memory:",
    "sqlite": lambda: SQLITE,
    "eventsourcing-popo": popo,
    "eventsourcing-sqlite": lambda: BRIDGE,
}


class Heard(Watcher):
    """What was left out, and why; and how far long checks came."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        self.steps: list[tuple[int, int]] = []

    def omitted(self, name: str, why: str) -> None:
        self.left_out[name] = why

    def progressed(self, done: int, of: int) -> None:
        self.steps.append((done, of))


def expect_all_passed(results: Collection[CheckResult]) -> None:
    """With each finding in full."""
    assert all(result.passed for result in results), "\n".join(f"{k}: {v}" for k, v in problems(results).items())


def problems(results: Collection[CheckResult]) -> dict[str, str | None]:
    return {result.name: result.problem for result in results if not result.passed}


@pytest.mark.parametrize("name", STORES)
async def test_every_store_passes(name: str) -> None:
    """All checks share a log, one after another. The long log is tried in memory here, and elsewhere in the slow lane."""
    heard = Heard()
    tried = [check for check in FAST if name == "memory" or check != VOLUME]
    results = await check_store(STORES[name](), only=tried, quick=True, watcher=heard)
    expect_all_passed(results)
    assert [result.name for result in results] == [check for check in tried if check not in heard.left_out]
    assert heard.left_out.keys() <= NOT_BASE, heard.left_out


@pytest.mark.parametrize("check", FAST)
async def test_each_check_needs_no_other(check: str) -> None:
    heard = Heard()
    results = await check_store("memory:", only=[check], quick=True, watcher=heard)
    expect_all_passed(results)
    assert len(results) + len(heard.left_out) == 1


@pytest.mark.real
@pytest.mark.parametrize(("url", "events"), [(SQLITE, 100_000), (BRIDGE, 20_000)])
async def test_a_killed_writer_and_a_long_log(url: str, events: int) -> None:
    heard = Heard()
    only = ["what_was_acknowledged_outlives_a_kill", VOLUME]
    results = await check_store(url, only=only, quick=events < 100_000, watcher=heard)
    expect_all_passed(results)
    assert len(results) == 2
    assert heard.steps[-1] == (2 * events, 2 * events), "written and read"


# --- planted bugs -----------------------------------------------------------------------------------------------------

EXTENDED: Final = {
    name
    for name in STORE_CHECKS.names
    for subject in (kit.numbering, kit.sharing, kit.forgetting, kit.restoring)
    if name in vars(subject)
}
UNUSABLE: Final = "a_place_that_cannot_be_used_is_told"
NOT_BASE: Final = EXTENDED | PROCESSES | {UNUSABLE}
BASE: Final = set(STORE_CHECKS.names) - NOT_BASE
LONG: Final = {VOLUME, "large_events_are_kept"}  # tried where they are what finds the bug

PLANTED: Final[dict[type[MemoryBackend], set[str]]] = {
    planted.SkipsOnConflict: {
        "an_exact_version_is_checked",
        "a_gap_in_versions_is_refused",
        "no_stream_is_checked",
        "later_appends_of_a_batch_see_earlier_ones",
        "a_conflict_loses_nothing_else",
        "what_is_acknowledged_is_there",
    },
    planted.LosesTheBatch: {
        "an_exact_version_is_checked",
        "a_gap_in_versions_is_refused",
        "no_stream_is_checked",
        "later_appends_of_a_batch_see_earlier_ones",
        "a_conflict_loses_nothing_else",
        "what_is_acknowledged_is_there",
        "positions_increase_and_the_head_is_the_last",
    },
    planted.WritesEventByEvent: {
        "an_append_is_whole_or_absent",
        "cancelling_leaves_nothing_half_done",
    },
    planted.ForgetsTheBatch: {
        "later_appends_of_a_batch_see_earlier_ones",
        "actor_and_time_are_outside_the_comparison",
        "a_batch_that_fails_writes_nothing",
    },
    planted.ForgetsDuplicates: {
        "the_same_append_is_a_duplicate",
        "a_duplicate_in_the_same_batch",
        "another_body_under_the_same_id",
        "actor_and_time_are_outside_the_comparison",
        "duplicate_is_decided_before_conflict",
        "duplicates_are_known_after_reopening",
        "cancelling_leaves_nothing_half_done",
        "a_batch_that_fails_writes_nothing",
    },
    planted.ForgetsDuplicatesWhenClosed: {
        "duplicates_are_known_after_reopening",
    },
    planted.TakesAnyBody: {
        "another_body_under_the_same_id",
    },
    planted.ChecksTheVersionFirst: {
        "actor_and_time_are_outside_the_comparison",
        "duplicate_is_decided_before_conflict",
        "a_batch_that_fails_writes_nothing",
    },
    planted.SharesAppendIds: {
        "the_same_append_is_a_duplicate",
        "another_body_under_the_same_id",
        "an_append_id_belongs_to_its_stream",
        "duplicates_are_known_after_reopening",
    },
    planted.TakesAnyForNone: {
        "versions_are_contiguous_from_1",
        "any_version_is_taken",
        "each_outcome_tells_where_its_events_are",
        "an_append_is_whole_or_absent",
        "duplicates_are_known_after_reopening",
        "reading_a_stream_keeps_its_bounds",
        "a_limit_counts_the_events_of_the_stream",
        "positions_increase_and_the_head_is_the_last",
        "names_that_look_alike_are_kept_apart",
        "many_events_in_an_append_are_kept",
        "reopening_keeps_everything",
        "cancelling_leaves_nothing_half_done",
        "cancelled_reads_leave_nothing_behind",
        "what_is_under_way_ends_when_it_is_closed",
    },
    planted.DropsTheJournal: {
        "every_field_is_read_as_it_was_written",
    },
    planted.NumbersWithGaps: {
        "versions_are_contiguous_from_1",
        "what_is_acknowledged_is_there",
        "every_field_is_read_as_it_was_written",
        "reading_a_stream_keeps_its_bounds",
        "pages_put_together_are_the_log",
        "reads_side_by_side_do_not_mix",
        "many_events_in_an_append_are_kept",
        "cancelling_leaves_nothing_half_done",
    },
    planted.IncludesAfter: {
        "reading_a_stream_keeps_its_bounds",
        "reads_side_by_side_do_not_mix",
    },
    planted.ReadsPastTheLimit: {
        "reading_all_keeps_its_bounds",
        "pages_put_together_are_the_log",
    },
    planted.FiltersAfterTheLimit: {
        "reading_a_stream_keeps_its_bounds",
        "a_limit_counts_the_events_of_the_stream",
        "reads_side_by_side_do_not_mix",
    },
    planted.ShowsOutOfOrder: {
        "each_outcome_tells_where_its_events_are",
        "pages_put_together_are_the_log",
        "nothing_appears_below_what_was_read",
        "reopening_keeps_everything",
    },
    planted.StaysBehind: {
        "every_field_is_read_as_it_was_written",
        "reading_all_keeps_its_bounds",
        "positions_increase_and_the_head_is_the_last",
        "unknown_streams_and_the_end_are_empty",
        "a_cursor_finds_its_place_again",
    },
    planted.NewIdWhenOpened: {
        "reopening_keeps_everything",
    },
    planted.LosesTheLastOnClosing: {
        "reopening_keeps_everything",
        "what_is_under_way_ends_when_it_is_closed",
    },
    planted.SpoilsText: {
        "any_json_is_kept",
    },
    planted.CutsLargeAppends: {
        "many_events_in_an_append_are_kept",
    },
    planted.NeverTells: {
        "waiting_ends_when_something_comes",
        "waiting_ends_at_once_for_what_is_there",
        "waiting_ends_at_its_timeout",
    },
    planted.HalfWhenCancelled: {
        "cancelling_leaves_nothing_half_done",
    },
    planted.ChangesTheActor: {
        "actor_and_time_are_outside_the_comparison",
    },
    planted.ChecksTheFirstOnly: {
        "later_appends_of_a_batch_see_earlier_ones",
        "a_conflict_loses_nothing_else",
        "what_is_acknowledged_is_there",
        "positions_increase_and_the_head_is_the_last",
    },
    planted.AcceptsVersionGaps: {
        "a_gap_in_versions_is_refused",
        "later_appends_of_a_batch_see_earlier_ones",
    },
    planted.WritesBeforeAnError: {
        "a_batch_that_fails_writes_nothing",
    },
    planted.TellsTheBatchesPlace: {
        "each_outcome_tells_where_its_events_are",
        "positions_increase_and_the_head_is_the_last",
    },
    planted.SortsTheBatch: {
        "each_outcome_tells_where_its_events_are",
        "a_duplicate_in_the_same_batch",
        "a_subscription_follows_what_is_written",
    },
    planted.DeclaresWhatItHasNot: {
        "what_is_declared_has_its_methods",
        "a_subscription_begins_at_any_cursor",  # a log refuses such a store
        "a_subscription_follows_what_is_written",
        "a_cursor_finds_its_place_again",
    },
    planted.DeliversByWakeUpOnly: {
        "each_outcome_tells_where_its_events_are",
        "every_field_is_read_as_it_was_written",
        "reading_all_keeps_its_bounds",
        "pages_put_together_are_the_log",
        "reads_side_by_side_do_not_mix",
        "a_subscription_begins_at_any_cursor",
        "reopening_keeps_everything",
    },
    planted.WakesForTheNextOnly: {
        "waiting_ends_at_once_for_what_is_there",
    },
    planted.WaitsForEver: {
        "waiting_ends_at_its_timeout",
    },
    planted.MixesUpReads: {
        "reads_side_by_side_do_not_mix",
    },
    planted.FoldsCase: {
        "names_that_look_alike_are_kept_apart",
    },
    planted.TakesAnyObject: {
        "data_that_is_not_json_is_refused",
        "a_batch_that_fails_writes_nothing",
    },
    planted.CutsLargeEvents: {
        "large_events_are_kept",
    },
    planted.KeepsWhatItReads: {
        "a_long_log_is_read_page_by_page",
    },
    planted.HasAnIdWithSpaces: {
        "a_cursor_finds_its_place_again",
    },
    planted.BreaksWhenClosed: {
        "a_closed_store_says_so",
    },
    planted.ClosesUnderReads: {
        "what_is_under_way_ends_when_it_is_closed",
    },
    planted.LocksWhenCancelled: {
        "cancelled_reads_leave_nothing_behind",
    },
    planted.HoldsReadsBack: {
        "reading_all_keeps_its_bounds",
        "pages_put_together_are_the_log",
        "reads_side_by_side_do_not_mix",
        "nothing_appears_below_what_was_read",
        "a_subscription_begins_at_any_cursor",
        "a_cursor_finds_its_place_again",
    },
}


def test_every_check_is_shown_to_fail() -> None:
    assert set().union(*PLANTED.values()) == BASE


@pytest.mark.parametrize("kind", PLANTED)
async def test_a_planted_bug_is_found_by_name_and_by_no_other(kind: type[MemoryBackend]) -> None:
    tried = BASE - LONG | PLANTED[kind]
    results = await check_store(memory(kind), only=tried, quick=True, patience_seconds=0.2)
    assert problems(results).keys() == PLANTED[kind]
    assert all(problems(results).values()), "each finding says what is wrong"


async def test_a_store_that_opens_anywhere_is_found_by_name() -> None:
    url = f"{planted.__name__}:{planted.open_anywhere.__name__}?path={{tmp}}/log.db"
    results = await check_store(url, only=[UNUSABLE])
    assert problems(results) == {UNUSABLE: "a store whose folder is a file was opened"}


async def test_what_is_not_offered_is_said() -> None:
    heard = Heard()
    await check_store(popo(), only=["positions_have_no_gaps", "one_leads_at_a_time", UNUSABLE], watcher=heard)
    assert heard.left_out["one_leads_at_a_time"] == f"not offered: {Capability.SHARED.value}"
    assert UNUSABLE in heard.left_out


async def test_a_finding_of_a_drawn_moment_names_its_seed() -> None:
    only = ["cancelling_leaves_nothing_half_done"]
    (result,) = await check_store(memory(planted.HalfWhenCancelled), only=only, seed=7)
    assert str(result.problem).endswith("(seed 7)")
    (again,) = await check_store(memory(planted.HalfWhenCancelled), only=only, seed=7)
    assert again.problem == result.problem


async def test_an_unknown_check_is_named() -> None:
    with pytest.raises(UsageError, match="no_such_check"):
        await check_store(memory(), only=["no_such_check"])
