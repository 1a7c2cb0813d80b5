"""Which journals of a run a storage holds, whoever knows of them: their places, by the names of their folders. Reads no journal.

A log that was put back from an older copy has forgotten epochs whose journals are still here (DURABILITY.md, section 5).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from playhead.core.names import Epoch, RunId
from playhead.journal.place import JournalPlace
from playhead.ports.storage import Storage

_SEGMENT: Final = re.compile(r"runs/[0-9a-f]{32}/([1-9]\d{0,8})-([0-9a-f]{2,128})/segments/\d+")


def journals_in(storage: Storage, run: str) -> list[JournalPlace]:
    """The run's journals that hold anything, oldest epoch first. Raises what the storage raises."""
    found = {form.groups() for path in storage.list(f"runs/{run}") if (form := _SEGMENT.fullmatch(path))}
    return sorted((JournalPlace(RunId(run), Epoch(int(epoch)), grant) for epoch, grant in found), key=_order)


def forgotten(storage: Storage, run: str, known: Collection[JournalPlace]) -> list[JournalPlace]:
    """The run's journals that are not among those which its log knows."""
    return [place for place in journals_in(storage, run) if place not in known]


def _order(place: JournalPlace) -> tuple[int, str]:
    return place.epoch, place.grant
