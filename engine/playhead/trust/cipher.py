"""Encryption: AES-256-GCM by the library `cryptography`. Owns which key and which nonce; signs nothing, and knows no format.

    nonce 12 | encrypted bytes | tag 16

A cipher's key is made of the key of one flow or run, for one purpose. Its nonces are random: a purpose has far fewer messages than
the 2^32 up to which NIST allows that (SP 800-38D, 8.3), and unlike numbers they do not repeat where a machine is restored to
an earlier moment. What is large has a key of its own instead, used once.

The library is imported when something is first encrypted or decrypted: whoever does not encrypt does not need it.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final, Literal

from playhead.errors import TrustError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
ADDED_BYTES: Final = NONCE_BYTES + TAG_BYTES  # by which what is encrypted is longer
KEY_BYTES: Final = 32

Purpose = Literal["envelope", "journal", "lines"]

_ONCE: Final = bytes(NONCE_BYTES)  # the nonce of a key that encrypts one thing


class Cipher:
    """Encrypts what belongs to one flow or run, for one purpose. Thread safe."""

    def __init__(self, secret: bytes, purpose: Purpose) -> None:
        self._key = hmac.digest(secret, f"playhead encrypt 1 {purpose}".encode(), "sha256")
        self._aead: AESGCM | None = None

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        """The data encrypted. `associated` is not, and must be the same to decrypt it. UsageError: the library is not installed."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._opened().encrypt(nonce, data, associated)

    def decrypt(self, data: bytes, associated: bytes, what: str) -> bytes:
        """What was encrypted. TrustError: not with this key, or not these bytes; `what` names it. UsageError: as for `encrypt`."""
        return _decrypted(self._opened(), data[:NONCE_BYTES], data[NONCE_BYTES:], associated, what)

    def _opened(self) -> AESGCM:
        if self._aead is None:
            self._aead = _aes(self._key)
        return self._aead


def encrypt_once(data: bytes) -> tuple[bytes, bytes]:
    """The data encrypted with a fresh key, and that key: for what is kept elsewhere, and named by something that is encrypted itself."""
    key = os.urandom(KEY_BYTES)
    return _aes(key).encrypt(_ONCE, data, None), key


def decrypt_once(data: bytes, key: bytes, what: str) -> bytes:
    """What `encrypt_once` encrypted. TrustError: it was changed, or is another."""
    return _decrypted(_aes(key), _ONCE, data, None, what)


def _decrypted(aead: AESGCM, nonce: bytes, data: bytes, associated: bytes | None, what: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return aead.decrypt(nonce, data, associated)
    except (InvalidTag, ValueError) as error:
        raise TrustError(
            f"{what} cannot be decrypted: it was changed, or encrypted with another key",
            hint="restore the object from a copy, or find out who changed the storage",
        ) from error


def _aes(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise UsageError(
            "what is encrypted, or is to be, needs the library cryptography, which is not installed here",
            hint="pip install 'playhead[encryption]'",
        ) from error
    return AESGCM(key)
