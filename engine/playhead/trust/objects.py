"""Signed objects in storage: write once, read verified. Owns no format and no path; both are the caller's."""

from __future__ import annotations

from playhead.errors import AlreadyExists
from playhead.ports.storage import Storage
from playhead.trust import envelope
from playhead.trust.envelope import Identity
from playhead.trust.keys import DerivedKey


def write_signed(storage: Storage, path: str, payload: bytes, identity: Identity, key: DerivedKey) -> None:
    """Create the object, durable and signed. Writing the same payload again does nothing.

    AlreadyExists: another payload was written there before. TrustError: what is there was not signed with `key`.
    """
    try:
        storage.create_if_absent(path, envelope.seal(payload, identity, key))
    except AlreadyExists:
        if read_signed(storage, path, identity, key) != payload:
            raise


def read_signed(storage: Storage, path: str, identity: Identity, key: DerivedKey) -> bytes:
    """The object's payload, verified. NoSuchObject: there is none. TrustError: it is not what was asked for."""
    return envelope.unseal(storage.read(path), identity, key)
