"""Payloads on their way into a record: signed, and inline or as an object of their own. Owns the limit between the two."""

from __future__ import annotations

import itertools
from hashlib import sha256

from playhead.core.names import TaskKey
from playhead.errors import TrustError
from playhead.failpoints import reach
from playhead.journal.format import Blob
from playhead.journal.place import JournalPlace
from playhead.journal.room import Room
from playhead.ports.storage import Storage
from playhead.runner.references import INLINE_BYTES, Depot, Stored
from playhead.trust.cipher import encrypt_once
from playhead.trust.envelope import record_mac
from playhead.trust.keys import DerivedKey
from playhead.trust.payload import size_class


class Payloads:
    """Of one journal. Thread safe. `hides_sizes`: as the run's flow wants it, once that is loaded."""

    def __init__(
        self, place: JournalPlace, key: DerivedKey, storage: Storage, room: Room | None = None, *, encrypt: bool = False
    ) -> None:
        self._place = place
        self._key = key
        self._storage = storage
        self._room = room or Room(place.run)
        self._encrypt = encrypt
        self.hides_sizes = False
        self._blobs = itertools.count()  # so that no two objects of a journal have one name, whoever answers for a call

    def keep(self, key: TaskKey, attempt: int, payload: bytes) -> tuple[bytes | Blob, str]:
        """What the record holds, and the MAC that its event carries. A large payload is durable on return, which
        takes as long as there is no room for it; raises what else the storage raises."""
        digest = sha256(payload)
        mac = record_mac(self._key, self._place.run, key, attempt, self._place.epoch, digest.digest())
        if len(payload) <= INLINE_BYTES:
            return payload, mac
        path = self._place.blob(key, attempt, f"{next(self._blobs)}")
        stored, blob_key = encrypt_once(payload) if self._encrypt else (payload, None)
        self._room.insist(lambda: self._storage.create_if_absent(path, stored))
        if blob_key is None:
            return _written(Blob(path, digest.hexdigest(), len(payload))), mac
        # The key is in the record, which is encrypted itself.
        return _written(Blob(path, sha256(stored).hexdigest(), len(stored), blob_key.hex())), mac

    def take(self, key: TaskKey, attempt: int, stored: Stored) -> tuple[Blob, str]:
        """As `keep`, of a payload that a worker has written down. TrustError: not where this journal's objects are."""
        if not stored.path.startswith(self._place.blobs):
            raise TrustError(f"a worker says that it wrote a result of {key} to {stored.path}, which is not this run's")
        digest = bytes.fromhex(stored.digest)
        mac = record_mac(self._key, self._place.run, key, attempt, self._place.epoch, digest)
        return _written(Blob(stored.path, stored.digest, stored.size)), mac

    def depot(self, *, insists: bool) -> Depot | None:
        """Where workers may write large payloads down. None: they may not, as they would need a key or a password."""
        return None if self._encrypt else Depot.of(self._storage, self._place, insists=insists)

    def size_told(self, size: int) -> int:
        """What an event tells of a payload's size: its class, or 0, which is no payload's, where the flow hides it."""
        return 0 if self.hides_sizes else size_class(size)


def _written(blob: Blob) -> Blob:
    reach("blob.written")
    return blob
