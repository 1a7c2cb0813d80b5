"""An executor's report of a run, beside the epoch's journal: sealed with the run's key. Reads nothing into it, and loads nothing."""

from __future__ import annotations

from playhead.journal.place import JournalPlace
from playhead.ports.storage import Storage
from playhead.trust.envelope import Identity, seal, unseal
from playhead.trust.keys import DerivedKey


def keep_report(storage: Storage, place: JournalPlace, key: DerivedKey, page: str, *, encrypt: bool) -> None:
    """Durable on return. Raises what the storage raises; AlreadyExists where this epoch has one."""
    storage.create_if_absent(place.report, seal(page.encode(), _identity(place), key, encrypt=encrypt))


def report_in(storage: Storage, place: JournalPlace, key: DerivedKey) -> str:
    """The page. NoSuchObject: this epoch has none. TrustError: it is not what its runner kept."""
    return unseal(storage.read(place.report), _identity(place), key).decode()


def _identity(place: JournalPlace) -> Identity:
    return Identity.of("executor's report", run=place.run, epoch=place.epoch)
