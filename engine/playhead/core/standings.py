"""How agents stand to a run that waits for one: who fits and has room, and what the others lack. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from playhead.core import matching
from playhead.core.kinds import ReleaseReason
from playhead.core.views import View


class Standing(StrEnum):
    """In the order of nearness to the run."""

    FITS = "fits"  # and has room
    FULL = "full"
    SILENT = "silent"  # it fits, and was not heard of for so long that it may be gone
    DRAINING = "draining"
    REFUSES = "refuses"  # it had the run, and gave it back for what does not change: its own rules, or what was signed
    LEFT = "left"
    LACKS = "lacks"  # what `lacks` names


class Lacking(View):
    """The agent lacks `wanted`, and has `present` instead."""

    what: matching.Lack
    wanted: tuple[str, ...]
    present: tuple[str, ...]


class AgentStanding(View):
    agent: str
    kind: str
    standing: Standing
    lacks: tuple[Lacking, ...]
    busy: int  # runs that it has
    capacity: int
    last_contact_seconds: float | None  # None: not since the server began
    gave_back: ReleaseReason | None  # why it gave this run back last, if it had it


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an agent. `offers`: what it joined with."""

    agent: str
    offers: matching.Offers
    capacity: int
    busy: int
    draining: bool
    left: bool
    last_contact_seconds: float | None
    gave_back: ReleaseReason | None


def standings(run: matching.Wants, agents: Iterable[Known], *, silence_seconds: float) -> list[AgentStanding]:
    """All of them, the nearest first. An agent that was not heard of for `silence_seconds` is not counted on."""
    found = [(known, _standing(run, known, silence_seconds)) for known in agents]
    return [standing for _, standing in sorted(found, key=_nearness)]


_FOR_GOOD: Final = frozenset({ReleaseReason.REFUSED, ReleaseReason.NOT_ALLOWED})
_ORDER: Final = {standing: number for number, standing in enumerate(Standing)}


def _standing(run: matching.Wants, known: Known, silence_seconds: float) -> AgentStanding:
    lacks = matching.missing(run, known.offers)
    return AgentStanding(
        agent=known.agent,
        kind=known.offers.kind,
        standing=Standing.LACKS if lacks else _of_one_that_fits(known, silence_seconds),
        lacks=tuple(Lacking(what=one.lack, wanted=one.wanted, present=one.present) for one in lacks),
        busy=known.busy,
        capacity=known.capacity,
        last_contact_seconds=known.last_contact_seconds,
        gave_back=known.gave_back,
    )


def _of_one_that_fits(known: Known, silence_seconds: float) -> Standing:
    if known.left:
        return Standing.LEFT
    if known.gave_back in _FOR_GOOD:
        return Standing.REFUSES
    if known.draining:
        return Standing.DRAINING
    if known.last_contact_seconds is None or known.last_contact_seconds > silence_seconds:
        return Standing.SILENT
    return Standing.FULL if known.busy >= known.capacity else Standing.FITS


def _nearness(one: tuple[Known, AgentStanding]) -> tuple[int, bool, int, str]:
    """Of those that lack something, the ones that have left are of the least help."""
    known, standing = one
    return _ORDER[standing.standing], known.left, len(standing.lacks), standing.agent
