"""The signed envelope: bytes, what they are, and a MAC over both. Owns the format; loads nothing and keeps no key.

    magic 4 | format 1 | codec 1 | key id 8 | identity: length 4, bytes | content: length 8, bytes | HMAC-SHA256 32

The identity says what the payload is and whose: kind, run or flow, task key, attempt, epoch. It is verified against what the
reader asked for, so that an object that was signed rightly does not count in another's place. The order of verification is
format, key id, identity, MAC; the first that does not fit is named. Codec 0 is the plain payload, codec 1 the payload encrypted
(`cipher`), with all that stands before the content as associated data; the other numbers are reserved. The MAC is over what is
stored, so nothing is decrypted that was not verified.
"""

from __future__ import annotations

import binascii
import hmac
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from playhead.errors import TrustError
from playhead.trust.cipher import Cipher
from playhead.trust.keys import DerivedKey

MAGIC: Final = b"PLHD"
FORMAT: Final = 1
PLAIN: Final = 0  # the codec of a payload that is stored as it is
ENCRYPTED: Final = 1  # the codec of AES-256-GCM
MAC_BYTES: Final = 32
RECORD_MAC_BYTES: Final = 16  # 22 characters in an event: nobody without the key can find or compare values by it

_HEAD = struct.Struct(">4sBB8sI")
_LENGTH = struct.Struct(">Q")
_COUNT = struct.Struct(">I")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True)
class Identity:
    """What an envelope holds: a kind, and named text fields in an order that belongs to the kind."""

    kind: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, kind: str, /, **fields: str | int) -> Identity:
        """`Identity.of("result", run=run_id, key="parse.17", attempt=1, epoch=2)`"""
        return cls(kind, tuple((name, str(value)) for name, value in fields.items()))

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.fields)
        return f"{self.kind} ({told})" if told else self.kind

    def encoded(self) -> bytes:
        """Each text with its length before it, so that no two identities encode alike."""
        texts = [self.kind, *(text for pair in self.fields for text in pair)]
        return b"".join(_COUNT.pack(len(data)) + data for data in (text.encode() for text in texts))


def seal(payload: bytes, identity: Identity, key: DerivedKey, *, encrypt: bool = False) -> bytes:
    """The payload in an envelope signed with `key`. UsageError: the library for encryption is not installed."""
    named = identity.encoded()
    head = _HEAD.pack(MAGIC, FORMAT, ENCRYPTED if encrypt else PLAIN, bytes.fromhex(key.key_id), len(named)) + named
    content = Cipher(key.secret, "envelope").encrypt(payload, head) if encrypt else payload
    body = b"".join((head, _LENGTH.pack(len(content)), content))
    return body + hmac.digest(key.secret, body, "sha256")


def unseal(data: bytes, identity: Identity, key: DerivedKey) -> bytes:
    """The payload, if `data` is an envelope of exactly this identity signed with `key`; else a TrustError that says why not."""
    if len(data) < _HEAD.size + _LENGTH.size + MAC_BYTES:
        _refuse(identity, f"it is no signed envelope: only {len(data)} bytes, cut short or never signed")
    magic, version, codec, key_id, named_length = _HEAD.unpack_from(data)
    _check_format(identity, magic, version, codec)
    if key_id.hex() != key.key_id:
        _refuse(
            identity,
            f"it was signed with the key {key_id.hex()}, not with {key.key_id}",
            hint="use the home, or set PLAYHEAD_KEY to the key, that sealed it",
        )
    payload_at = _HEAD.size + named_length + _LENGTH.size
    if payload_at + MAC_BYTES > len(data):
        _refuse(identity, "it is cut short")
    _check_identity(identity, data[_HEAD.size : _HEAD.size + named_length])
    (payload_length,) = _LENGTH.unpack_from(data, payload_at - _LENGTH.size)
    if payload_at + payload_length + MAC_BYTES != len(data):
        _refuse(identity, "it is cut short, or more was added to it")
    body = memoryview(data)[:-MAC_BYTES]
    if not hmac.compare_digest(hmac.digest(key.secret, body, "sha256"), data[-MAC_BYTES:]):
        _refuse(identity, "its signature does not fit its content: it was changed after it was signed")
    content = data[payload_at:-MAC_BYTES]
    if codec == PLAIN:
        return content
    return Cipher(key.secret, "envelope").decrypt(content, data[: _HEAD.size + named_length], str(identity))


def record_mac(key: DerivedKey, run: str, task_key: str, attempt: int, epoch: int, payload_digest: bytes) -> str:
    """The only digest that an event may carry: 22 characters of base64url over a record's place and its payload's SHA-256.

    Its input holds run, key, attempt and epoch: equal values never look equal, and no dictionary helps without the key.
    """
    place = f"record {len(run)}:{run}{len(task_key)}:{task_key}{attempt}:{epoch}:"
    mac = _keyed(key.secret).copy()
    mac.update(place.encode() + payload_digest)
    text = binascii.b2a_base64(mac.digest()[:RECORD_MAC_BYTES], newline=False)
    return text[:22].translate(_URL_SAFE).decode()


@lru_cache(maxsize=16)
def _keyed(secret: bytes) -> hmac.HMAC:
    """A MAC with the key worked in. A runner makes one for every task with one key; `hmac.digest` works it in each time, and
    lets another thread run meanwhile, which costs more than the MAC."""
    return hmac.new(secret, digestmod="sha256")


def _check_format(identity: Identity, magic: bytes, version: int, codec: int) -> None:
    if magic != MAGIC:
        _refuse(identity, "it is no signed envelope: it was never signed, or its beginning was overwritten")
    if version != FORMAT:
        _refuse(identity, f"it has the format {version}, and this version reads {FORMAT}", hint="upgrade playhead")
    if codec not in (PLAIN, ENCRYPTED):
        _refuse(identity, f"it has the codec {codec}, which this version does not know", hint="upgrade playhead")


def _check_identity(expected: Identity, encoded: bytes) -> None:
    if encoded == expected.encoded():
        return
    actual = _decoded(encoded)
    if actual is None:
        _refuse(expected, "the name that it carries cannot be read")
    if actual.kind != expected.kind or [name for name, _ in actual.fields] != [name for name, _ in expected.fields]:
        _refuse(expected, f"it is another thing: {actual}")
    differing = ", ".join(
        f"{name} is {mine!r} and not {theirs!r}"
        for (name, mine), (_, theirs) in zip(actual.fields, expected.fields, strict=True)
        if mine != theirs
    )
    _refuse(expected, f"it belongs elsewhere: its {differing}")


def _decoded(encoded: bytes) -> Identity | None:
    """What somebody wrote as an identity, for a message; it has not been verified."""
    texts: list[str] = []
    at = 0
    while at < len(encoded):
        if at + _COUNT.size > len(encoded):
            return None
        (length,) = _COUNT.unpack_from(encoded, at)
        at += _COUNT.size
        if at + length > len(encoded):
            return None
        texts.append(encoded[at : at + length].decode("utf-8", "replace"))
        at += length
    if len(texts) % 2 == 0:
        return None
    return Identity(texts[0], tuple(zip(texts[1::2], texts[2::2], strict=True)))


def _refuse(identity: Identity, why: str, *, hint: str | None = None) -> NoReturn:
    raise TrustError(
        f"the {identity} is refused, and nothing of it was loaded: {why}",
        hint=hint or "restore the object from a copy, or find out who changed the storage",
    )
