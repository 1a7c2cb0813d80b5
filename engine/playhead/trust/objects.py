"""Signed objects in storage: write once, read verified. Owns the form of signed JSON; kinds and paths are the caller's."""

from __future__ import annotations

from typing import Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from playhead.errors import AlreadyExists, TrustError
from playhead.ports.storage import Storage
from playhead.trust import envelope
from playhead.trust.envelope import Identity
from playhead.trust.keys import DerivedKey


class Signed(BaseModel):
    """Whatever is signed as JSON: frozen, closed, bytes as base64, keys sorted."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    def signed_form(self) -> bytes:
        """The same bytes for the same content, in any process."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_signed_form(cls, content: bytes, what: str) -> Self:
        """Read what `signed_form` wrote, after its signature was verified. TrustError: it is of another version."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, each["loc"])) or "the whole" for each in error.errors())
            raise TrustError(
                f"{what} was signed by another version of Playhead: this one cannot read {fields}",
                hint="use the newer of the two versions, or register the flow again with this one",
            ) from None


def write_signed(
    storage: Storage, path: str, payload: bytes, identity: Identity, key: DerivedKey, *, encrypt: bool = False
) -> None:
    """Create the object, durable and signed. Writing the same payload again does nothing.

    AlreadyExists: another payload was written there before. TrustError: what is there was not signed with `key`.
    """
    try:
        storage.create_if_absent(path, envelope.seal(payload, identity, key, encrypt=encrypt))
    except AlreadyExists:
        if read_signed(storage, path, identity, key) != payload:
            raise


def read_signed(storage: Storage, path: str, identity: Identity, key: DerivedKey) -> bytes:
    """The object's payload, verified. NoSuchObject: there is none. TrustError: it is not what was asked for."""
    return envelope.unseal(storage.read(path), identity, key)
