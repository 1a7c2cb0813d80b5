"""The bytes of a journal: records in batches, each batch signed and chained to the one before. No I/O.

A segment is batches one behind the other, nothing else:

    magic "PHJB" | format u8 | run 16 bytes | epoch u32 | batch number u32 | records u32 | body length u32 |
    MAC of the batch before, 32 bytes | body | MAC, 32 bytes

The body is a JSON array of records, `[type, schema, data, private]` each, its length before it as u32, and behind it the
inline payloads in the order of their records. The MAC is HMAC-SHA256 with the run's key over everything before it, so a batch
belongs to one run, epoch and place. Format 2 is the same with the body encrypted, and the header as associated data; it is
verified before it is decrypted, and one journal may hold batches of both. DURABILITY.md section 1.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from msgspec import Struct

from playhead.core.names import Epoch, RunId
from playhead.errors import JournalCorrupt
from playhead.trust.cipher import ADDED_BYTES, Cipher

MAGIC: Final = b"PHJB"
FORMAT: Final = 1
ENCRYPTED_FORMAT: Final = 2
NO_MAC: Final = bytes(32)
WORKER_NOTE: Final = "worker"  # in the note of an attempt's end: which worker computed it
MAX_BODY_BYTES: Final = 64 * 1024 * 1024  # a length beyond this is damage, and must not become an allocation

_HEADER: Final = struct.Struct(">4sB16sIIII32s")
_U32: Final = struct.Struct(">I")
_ROWS: Final = frozenset({list, tuple})


@dataclass(frozen=True, slots=True)
class Blob:
    """A payload too large for the journal: an object of its own, written once, and named by its record."""

    path: str  # in the storage
    digest: str  # SHA-256, hexadecimal, of what is stored there
    size: int
    key: str | None = None  # hexadecimal: it is encrypted with this one, which nothing else is


class Record(Struct, frozen=True):
    """One fact and what only the user's side may see of it.

    `data` is the event's fields, exactly as the log will have them. `note` is private (a call's fingerprint and the like), JSON
    types. `payload` is a result, failure or value, inline or as a blob. `then` is called with the record once it counts, in
    the journal's order; it must be short, and is not part of the record.
    """

    type: str
    schema: int
    data: Mapping[str, Any]
    note: Mapping[str, Any] | None = None
    payload: bytes | Blob | None = None
    then: Callable[[Record], None] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    number: int  # from 0, without gaps
    records: tuple[Record, ...]
    mac: bytes
    before: bytes  # MAC of the batch before


def encode_batch(
    records: Sequence[Record],
    *,
    run: RunId,
    epoch: Epoch,
    number: int,
    before: bytes,
    key: bytes,
    cipher: Cipher | None = None,
) -> tuple[bytes, bytes]:
    """The batch's bytes and its MAC. `cipher`: encrypt the body."""
    rows: list[list[Any]] = []
    payloads: list[bytes] = []
    for record in records:
        private: dict[str, Any] | None = {"n": record.note} if record.note is not None else None
        match record.payload:
            case bytes() as inline:
                private = {**(private or {}), "p": len(inline)}
                payloads.append(inline)
            case Blob(path, digest, size, blob_key):
                blob = [path, digest, size] if blob_key is None else [path, digest, size, blob_key]
                private = {**(private or {}), "b": blob}
            case None:
                pass
        rows.append([record.type, record.schema, record.data, private])
    table = orjson.dumps(rows)
    body = b"".join((_U32.pack(len(table)), table, *payloads))
    assert len(body) <= MAX_BODY_BYTES, "a reader would take this batch for damage"
    version, length = (FORMAT, len(body)) if cipher is None else (ENCRYPTED_FORMAT, len(body) + ADDED_BYTES)
    header = _HEADER.pack(MAGIC, version, bytes.fromhex(run), epoch, number, len(records), length, before)
    signed = header + (body if cipher is None else cipher.encrypt(body, header))
    mac = hmac.new(key, signed, "sha256").digest()  # for a short batch without letting another thread run meanwhile
    return signed + mac, mac


def bytes_of(fields: Mapping[str, Any]) -> int:
    """How many bytes these fields take as JSON, or somewhat more. A guess from their lengths: it is made for every record."""
    size = 64 + 40 * len(fields)  # their names, and of each a number, an enum or a MAC
    for value in fields.values():
        if type(value) is str:
            size += 4 * len(value)
        elif type(value) in _ROWS:
            size += sum(4 * len(each) + 8 if type(each) is str else 256 for each in value)
    return size


def read_segment(data: bytes, *, run: RunId, epoch: Epoch, key: bytes, where: str) -> Iterator[Batch]:
    """The segment's batches. Invalid bytes at the end are a torn tail and end the iteration; invalid bytes with a valid
    batch behind them are damage: JournalCorrupt, never a cut."""
    offset = 0
    while offset < len(data):
        found = _batch_at(data, offset, run=run, epoch=epoch, key=key)
        if found is None:
            _refuse_hole(data, offset, run=run, epoch=epoch, key=key, where=where)
            return
        batch, offset = found
        yield batch


def _batch_at(data: bytes, offset: int, *, run: RunId, epoch: Epoch, key: bytes) -> tuple[Batch, int] | None:
    if len(data) - offset < _HEADER.size + 32:
        return None
    magic, version, run_bytes, at_epoch, number, count, length, before = _HEADER.unpack_from(data, offset)
    if magic != MAGIC or length > MAX_BODY_BYTES:
        return None
    end = offset + _HEADER.size + length
    if end + 32 > len(data):
        return None
    mac = data[end : end + 32]
    if not hmac.compare_digest(hmac.digest(key, data[offset:end], "sha256"), mac):
        return None
    if version not in (FORMAT, ENCRYPTED_FORMAT):
        raise JournalCorrupt(
            f"a journal of run {run} has format {version}; this version of Playhead reads up to {ENCRYPTED_FORMAT}",
            hint="it was written by a newer version: upgrade this one",
        )
    if run_bytes.hex() != run or at_epoch != epoch:
        return None
    body = data[offset + _HEADER.size : end]
    if version == ENCRYPTED_FORMAT:
        header = data[offset : offset + _HEADER.size]
        body = Cipher(key, "journal").decrypt(body, header, f"batch {number} of the journal of run {run}")
    records = tuple(_records(body))
    assert len(records) == count
    return Batch(number, records, mac, before), end + 32


def _records(body: bytes) -> Iterator[Record]:
    (length,) = _U32.unpack_from(body)
    at = 4 + length
    for type_name, schema, data, private in orjson.loads(body[4:at]):
        payload: bytes | Blob | None = None
        note = None
        if private is not None:
            note = private.get("n")
            if "p" in private:
                payload = body[at : at + private["p"]]
                at += private["p"]
            elif "b" in private:
                payload = Blob(*private["b"])
        yield Record(type_name, schema, data, note, payload)


def _refuse_hole(data: bytes, offset: int, *, run: RunId, epoch: Epoch, key: bytes, where: str) -> None:
    at = data.find(MAGIC, offset + 1)
    while at != -1:
        if _batch_at(data, at, run=run, epoch=epoch, key=key) is not None:
            raise JournalCorrupt(
                f"{where} is damaged at byte {offset}: a valid batch follows at byte {at}",
                hint="restore this object from a backup of the storage; nothing of it was used",
            )
        at = data.find(MAGIC, at + 1)
