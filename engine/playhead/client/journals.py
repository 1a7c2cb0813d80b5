"""The journals of one run, for whoever looks: found by the log's grants, verified, each read once. Never fences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from playhead.core import events as ev
from playhead.core.names import Epoch, RunId, Seq
from playhead.core.views import RecordRef, RunView
from playhead.errors import StorageLost, TrustError
from playhead.home import Home
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import Journal, load_payload, read_journal, record_at
from playhead.ports.server import ServerApi
from playhead.ports.store import Recorded

OUTCOMES: Final = frozenset({ev.RunSucceeded.TYPE, ev.RunFailed.TYPE})
TASK_FAILURES: Final = frozenset({ev.TaskFailed.TYPE, ev.TaskRetrying.TYPE})


async def claims_of(api: ServerApi, view: RunView, *, after_version: int = 0) -> list[Recorded]:
    """The events that say where the run's journals are. Reads no more of the history than it must: they come early in it."""
    claims: list[Recorded] = []
    if view.attempt:
        async for recorded in api.history(view.run_id, after_version=after_version):
            if recorded.type == ev.RunClaimed.TYPE:
                claims.append(recorded)
                if recorded.data["epoch"] >= view.attempt:
                    break
    return claims


def places_of(run: str, history: Iterable[Recorded]) -> dict[Epoch, JournalPlace]:
    """Where the journal of each epoch is, by the run's claims."""
    claims = (recorded.data for recorded in history if recorded.type == ev.RunClaimed.TYPE)
    return {Epoch(data["epoch"]): JournalPlace(RunId(run), Epoch(data["epoch"]), data["grant"]) for data in claims}


class RunJournals:
    """Opens the run's storage and key on making. StorageLost: the storage is gone. TrustError: the key is not this home's."""

    def __init__(self, view: RunView, history: Iterable[Recorded], home: Home) -> None:
        self._run = view.run_id
        self._places = places_of(view.run_id, history)
        self._key = home.keys.run_key(view.run_id, key_id=view.key_id)
        self.storage = home.storage_of(f"run {view.run_id}", view.storage)
        self._read: dict[Epoch, Journal] = {}

    def payload(self, ref: RecordRef, types: frozenset[str], task: str | None) -> bytes:
        """The verified bytes of a record's result or failure. `task` None: the flow's own.

        StorageLost: journal, record or blob are gone. JournalCorrupt, TrustError: they are not what was written.
        """
        where = f"run {self._run}" if task is None else f"task {task} of run {self._run}"
        record = self._record(ref, where)
        if record.type not in types or record.data.get("key") != task:
            raise TrustError(
                f"{where}: the server names record {ref.seq} of epoch {ref.epoch}, and that is {record.type} of "
                f"{record.data.get('key', 'the flow')}; nothing of it was loaded",
                hint="the server says something else than the runner wrote: look into the server",
            )
        return load_payload(self.storage, record, where=where)

    def all(self) -> Iterator[Journal]:
        """Each epoch's, in their order; empty for one whose runner never began. JournalCorrupt, TrustError."""
        for epoch in sorted(self._places):
            yield self._journal(epoch, self._places[epoch])

    def _record(self, ref: RecordRef, where: str) -> Record:
        epoch = Epoch(ref.epoch)
        place = self._places.get(epoch)
        if place is None:
            raise StorageLost(
                f"{where}: the log names no journal of epoch {epoch}", hint="pass the run's whole history"
            )
        return record_at(self._journal(epoch, place), Seq(ref.seq))

    def _journal(self, epoch: Epoch, place: JournalPlace) -> Journal:
        if epoch not in self._read:
            self._read[epoch] = read_journal(self.storage, place, self._key.secret)
        return self._read[epoch]
