"""Reading journals: one journal's records, and a payload's bytes. Whoever only looks never fences. User side only."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from playhead.core.names import Seq
from playhead.errors import JournalCorrupt, NoSuchObject, StorageLost, TrustError
from playhead.journal.format import NO_MAC, Batch, Blob, Record, read_segment
from playhead.journal.place import JournalPlace
from playhead.ports.storage import Storage
from playhead.trust.cipher import decrypt_once


@dataclass(frozen=True, slots=True)
class Journal:
    """One epoch's journal as it reads at a moment; `ends[i]` is the number of records up to and with batch i."""

    place: JournalPlace
    records: tuple[Record, ...]
    ends: tuple[int, ...]
    macs: tuple[bytes, ...]


def read_journal(storage: Storage, place: JournalPlace, key: bytes) -> Journal:
    """All valid batches, in order. A torn tail is left out; a hole is JournalCorrupt. No segment at all: an empty journal."""
    batches: list[Batch] = []
    for path in storage.list(place.segments):
        data = storage.read(path)
        for batch in read_segment(data, run=place.run, epoch=place.epoch, key=key, where=path):
            if batch.number < len(batches):
                # After a failed flush the writer goes on in a new segment with what nobody was told was durable.
                del batches[batch.number :]
            before = batches[-1].mac if batches else NO_MAC
            if batch.number != len(batches) or batch.before != before:
                raise JournalCorrupt(
                    f"{path}: batch {batch.number} does not follow batch {len(batches) - 1}",
                    hint="a segment before it is damaged or gone: restore it from a backup of the storage",
                )
            batches.append(batch)
        if data and not batches:
            _refuse_wrong_key(data, place, path)
    records: list[Record] = []
    ends: list[int] = []
    for batch in batches:
        records.extend(batch.records)
        ends.append(len(records))
    return Journal(place, tuple(records), tuple(ends), tuple(batch.mac for batch in batches))


def load_payload(storage: Storage, record: Record, *, where: str) -> bytes:
    """The record's payload, from the record or from its blob; a blob's digest is compared before anyone loads it."""
    return payload_bytes(storage, record.payload, where=where)


def payload_bytes(storage: Storage, payload: bytes | Blob | None, *, where: str) -> bytes:
    """As `load_payload`, for what a record held."""
    match payload:
        case bytes() as inline:
            return inline
        case Blob(path, digest, size, key):
            try:
                data = storage.read(path)
            except NoSuchObject:
                raise StorageLost(
                    f"{where}: its result {path} is gone from storage {storage.url}",
                    hint="restore the storage from a backup, or run the flow anew",
                ) from None
            if len(data) != size or sha256(data).hexdigest() != digest:
                raise TrustError(f"{where}: {path} is not what was recorded; nothing of it was loaded")
            return data if key is None else decrypt_once(data, bytes.fromhex(key), f"{where}: {path}")
        case None:
            raise StorageLost(f"{where}: its record holds no value")


def record_at(journal: Journal, seq: Seq) -> Record:
    """Record `seq`. Raises StorageLost if the journal does not reach that far."""
    if seq >= len(journal.records):
        raise StorageLost(
            f"record {seq} of {journal.place.folder} is gone: the journal holds {len(journal.records)}",
            hint="the log knows it, so the storage lost it: restore the storage from a backup",
        )
    return journal.records[seq]


def _refuse_wrong_key(data: bytes, place: JournalPlace, path: str) -> None:
    """A first batch that is whole but carries another signature is not a torn tail."""
    if data[:4] == b"PHJB" and len(data) >= 69 + 32:
        length = int.from_bytes(data[33:37], "big")
        if 69 + length + 32 <= len(data):
            raise TrustError(
                f"{path} does not carry the signature of run {place.run}'s key; nothing of it was loaded",
                hint="is this the key that the run was asked for with? `playhead doctor` names the key in use",
            )
