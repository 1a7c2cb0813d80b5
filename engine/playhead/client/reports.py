"""The report that a run's executor left in the user's storage. Verifies it; shows nothing."""

from __future__ import annotations

from collections.abc import Iterable

from playhead.client.journals import places_of
from playhead.core.views import RunView
from playhead.errors import NoSuchObject, NotFound
from playhead.home import Home
from playhead.journal.report import report_in
from playhead.ports.store import Recorded


def read_report(view: RunView, claims: Iterable[Recorded], home: Home) -> str:
    """The newest epoch's, as HTML.

    NotFound: the run has none. StorageLost: the storage is gone. TrustError: it is not what the runner kept, or the key is
    not this home's.
    """
    storage = home.storage_of(f"run {view.run_id}", view.storage)
    key = home.keys.run_key(view.run_id, key_id=view.key_id)
    for _, place in sorted(places_of(view.run_id, claims).items(), reverse=True):
        try:
            return report_in(storage, place, key)
        except NoSuchObject:
            continue
    raise NotFound(
        "executor's report of a run",
        view.run_id,
        hint="DaskExecutor(performance_report=True) has a run leave one at its end; if it could not, `playhead logs` says why",
    )
