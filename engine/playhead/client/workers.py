"""Which worker computed what, from a run's journals. A worker's name is a host's, mostly: only the user's side knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from playhead.client.journals import RunJournals
from playhead.core.names import Epoch, Seq
from playhead.core.views import RunView
from playhead.home import Home
from playhead.journal.format import WORKER_NOTE
from playhead.ports.store import Recorded

Workers: TypeAlias = Mapping[tuple[Epoch, Seq], str]  # by the record of an attempt's end


def workers_of(view: RunView, history: Iterable[Recorded], home: Home) -> Workers:
    """Only of attempts whose executor names its workers. `history` needs to hold the run's claims.

    TrustError: the run was asked for with a key that is not here, or a journal is not what was written. StorageLost: its storage is
    gone. JournalCorrupt. Synchronous: callers on an event loop go through a thread.
    """
    return {
        (journal.place.epoch, Seq(seq)): record.note[WORKER_NOTE]
        for journal in RunJournals(view, history, home).all()
        for seq, record in enumerate(journal.records)
        if record.note and WORKER_NOTE in record.note
    }
