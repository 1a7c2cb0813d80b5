"""Reconciling: a log that was put back from an older copy is told what a run's journals hold that it has forgotten.

By hand, run by run: only a person can say that the copy was meant to be put back, and that this storage is the run's own. User side.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import anyio.to_thread

from playhead.client.journals import claims_of, places_of
from playhead.core.views import RunView
from playhead.errors import StorageLost
from playhead.home import Home
from playhead.journal.place import JournalPlace
from playhead.journal.reader import read_journal
from playhead.journal.shelf import forgotten
from playhead.ports.server import FoundJournal, ReconcileRequest, ServerApi


@dataclass(frozen=True, slots=True)
class Adopted:
    """A journal that the log knows again, and how many records it holds."""

    epoch: int
    records: int


async def reconcile(api: ServerApi, home: Home, run: str) -> tuple[Adopted, ...]:
    """Tell the log of every journal of the run that it does not know; none if it knows them all.

    NotFound: the log does not know the run at all. JournalCorrupt, TrustError: a journal is not what the run's runner wrote, and nothing
    was told. StorageLost: the storage is gone, or the log has given an epoch's number away since. Refused: somebody has the run.
    """
    view = await api.run(run, tasks=False)
    known = set(places_of(run, await claims_of(api, view)).values())
    found = await anyio.to_thread.run_sync(_read, home, view, known)
    for place, _ in found:
        if place.epoch <= view.attempt:
            raise StorageLost(
                f"the journal {place.folder} is not known to the log, which has given epoch {place.epoch} to another runner since",
                hint="two histories of one run cannot be made one: cancel the run, and look into what either has done",
            )
    if found:
        journals = tuple(FoundJournal(epoch=place.epoch, grant=place.grant) for place, _ in found)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        await api.reconcile(run, ReconcileRequest(journals=journals, python=python))
    return tuple(Adopted(place.epoch, records) for place, records in found)


def _read(home: Home, view: RunView, known: set[JournalPlace]) -> list[tuple[JournalPlace, int]]:
    """The journals that the log does not know, each verified, and how many records it holds."""
    storage = home.storage_of(f"run {view.run_id}", view.storage)
    key = home.keys.run_key(view.run_id, key_id=view.key_id).secret
    return [(place, len(read_journal(storage, place, key).records)) for place in forgotten(storage, view.run_id, known)]
