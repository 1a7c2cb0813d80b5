"""What stores offer beyond the base contract is looked at where it is declared, and each planted bug in it is found by name."""

from __future__ import annotations

from typing import Final

import pytest

from playhead.testing.stores import StoreFactory, check_store
from tests.conformance import file_store
from tests.conformance import shared_stores as planted
from tests.conformance.stores import place
from tests.conformance.test_stores import EXTENDED, PROCESSES, UNUSABLE, Heard, expect_all_passed, problems

TRIED: Final = EXTENDED - PROCESSES
KILLED: Final = "what_was_acknowledged_outlives_a_kill"
OTHERS: Final = "other_processes_write_the_same_log"

PLANTED: Final[dict[type[planted.SharedMemory], set[str]]] = {
    planted.BurnsPositions: {
        "positions_have_no_gaps",
    },
    planted.ChainsNothing: {
        "each_append_is_chained_to_the_one_before",
        "nothing_appears_below_what_was_read_from_others",
    },
    planted.ShowsLate: {
        "nothing_appears_below_what_was_read_from_others",
    },
    planted.LooksAtItsOwnVersions: {
        "writers_side_by_side_lose_nothing",
    },
    planted.KnowsItsOwnAppends: {
        "the_same_append_from_two_sides_is_written_once",
        "a_copy_is_the_same_log",
    },
    planted.ReadsItsOwnCopy: {
        "what_was_acknowledged_to_one_is_seen_by_all",
        "a_copy_is_the_same_log",
    },
    planted.TellsItselfOnly: {
        "news_of_others_come_at_once",
    },
    planted.LetsEveryoneLead: {
        "one_leads_at_a_time",
    },
    planted.CountsOnce: {
        "signs_of_life_are_counted",
    },
    planted.NumbersAreDrawnBefore: {
        "no_sign_of_life_is_missed",
    },
    planted.ForgetsAllOfIt: {
        "what_is_forgotten_is_gone_and_nothing_else",
    },
    planted.BeginsAgain: {
        "versions_go_on_behind_what_was_forgotten",
    },
    planted.GivesPositionsAgain: {
        "forgotten_positions_are_never_given_again",
    },
    planted.DeniesWhatItForgot: {
        "what_is_forgotten_is_gone_and_nothing_else",
        "forgotten_positions_are_never_given_again",
    },
    planted.StopsAtAHole: {
        "what_is_forgotten_is_gone_and_nothing_else",
        "a_subscription_passes_over_what_was_forgotten",
    },
    planted.KeepsNoJournal: {
        "each_append_is_chained_to_the_one_before",
        "kept_appends_are_those_committed",
        "a_copy_is_the_same_log",
    },
    planted.RestoresUnderItsOwnId: {
        "a_copy_is_the_same_log",
    },
    planted.TakesOverAnything: {
        "a_copy_is_the_same_log",
    },
}


def shared(kind: type[planted.SharedMemory]) -> StoreFactory:
    """A log in memory that every backend of this kind has open."""
    records = planted.Common()

    async def open_it() -> planted.SharedMemory:
        return kind(records)

    return place(open_it)


async def test_a_store_with_every_capability_passes_everything() -> None:
    heard = Heard()
    store, second = shared(planted.SharedMemory), shared(planted.SharedMemory)
    results = await check_store(store, second=second, quick=True, watcher=heard)
    expect_all_passed(results)
    assert heard.left_out.keys() == PROCESSES | {UNUSABLE}, "which take a URL"


def test_every_check_is_shown_to_fail() -> None:
    assert set().union(*PLANTED.values()) == TRIED


@pytest.mark.parametrize("kind", PLANTED)
async def test_a_planted_bug_is_found_by_name_and_by_no_other(kind: type[planted.SharedMemory]) -> None:
    results = await check_store(shared(kind), second=shared(kind), only=TRIED, quick=True, patience_seconds=0.2)
    assert problems(results).keys() == PLANTED[kind]
    assert len(results) == len(TRIED)


# --- other processes --------------------------------------------------------------------------------------------------


def url_of(opens: str) -> str:
    return f"{file_store.__name__}:{opens}?path={{tmp}}/log"


@pytest.mark.real
async def test_a_store_in_a_file_passes_with_other_processes() -> None:
    only = {*PROCESSES, "one_leads_at_a_time", "signs_of_life_are_counted"}
    results = await check_store(url_of("open_url"), only=only, quick=True)
    expect_all_passed(results)
    assert {result.name for result in results} == only


@pytest.mark.real
@pytest.mark.parametrize(("opens", "found_by"), [("open_writing_when_closed", KILLED), ("open_looking_once", OTHERS)])
async def test_a_planted_bug_is_found_by_other_processes(opens: str, found_by: str) -> None:
    results = await check_store(url_of(opens), only=PROCESSES, quick=True)
    assert found_by in problems(results)
