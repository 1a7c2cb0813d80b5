"""The hash chain over a log: each append's link covers the append, its place, and the link before it. Pure.

A row that was changed, removed, added or moved by hand is found by computing the links again. This is no seal: whoever may write
the store may compute links too.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

from playhead.ports.store import Append

LINK_BYTES: Final = 32
FIRST: Final = bytes(LINK_BYTES)  # before the first append

_NONE: Final = -1  # epochs and record numbers are never negative
_NUMBERS: Final = Struct(">qqqq").pack
_LENGTH: Final = Struct(">q").pack
_PLACE: Final = Struct(">qq").pack


def digest(append: Append, body: bytes) -> bytes:
    """What an append says, wherever it stands: SHA-256 of its fields, each with its length. `body` is that of `appends.encode`."""
    stream, actor, append_id = append.stream.encode(), append.actor.encode(), append.append_id.encode()
    epoch, first_seq = append.epoch, append.first_seq
    said = b"".join(
        (
            _NUMBERS(
                append.recorded_at,
                _NONE if epoch is None else epoch,
                _NONE if first_seq is None else first_seq,
                len(stream),
            ),
            stream,
            _LENGTH(len(actor)),
            actor,
            _LENGTH(len(append_id)),
            append_id,
            _LENGTH(len(body)),
            body,
        )
    )
    return sha256(said).digest()  # one call: each costs as much as the hashing of a hundred bytes


def link(before: bytes, said: bytes, *, last: int, version: int) -> bytes:
    """The append's link: SHA-256 of the link before it, its digest, and its last position and version, eight bytes each, the highest
    first. A database can compute it as well: `sha256(before || said || int8send(last) || int8send(version))`."""
    return sha256(before + said + _PLACE(last, version)).digest()
