"""The master key of a home, and what is derived from it. Values only: where keys are kept is `keyfile`; signs nothing itself.

A key is the user's: it is in no event, no argument and no log line, and its text is shown only by `MasterKey.export`.
Key ids are keyed digests, so that they may be shown to a server.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from playhead.errors import TrustError

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
MAX_KEYS: Final = 64  # in one ring: each is one rotation

_MASTER_PREFIX = "playhead-key-"
_DERIVED_PREFIX = "playhead-derived-"
_KEY_TEXT = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes


@dataclass(frozen=True)
class DerivedKey:
    """What signs and verifies within one flow or one run. `key_id` names the master key that it came from."""

    key_id: str
    secret: bytes = field(repr=False)

    def export(self) -> str:
        """The key as text, for the pipe or mounted file that carries it to a runner."""
        return f"{_DERIVED_PREFIX}{self.key_id}-{_text_of(self.secret)}"

    @classmethod
    def parse(cls, text: str) -> DerivedKey:
        """Read what `export` wrote. TrustError: it is something else."""
        prefix, _, secret = text.strip().removeprefix(_DERIVED_PREFIX).partition("-")
        key = _bytes_of(secret)
        if key is None or len(prefix) != 2 * KEY_ID_BYTES or not text.strip().startswith(_DERIVED_PREFIX):
            raise TrustError("what was handed over as a derived key is none", hint="start the runner through its agent")
        return cls(prefix, key)


@dataclass(frozen=True)
class MasterKey:
    """32 random bytes, from which every flow's and every run's key follows."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == KEY_BYTES

    @classmethod
    def random(cls) -> MasterKey:
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def id(self) -> str:
        """16 hexadecimal digits that tell this key from others and nothing else about it."""
        return hmac.digest(self.secret, b"key id", "sha256")[:KEY_ID_BYTES].hex()

    def flow_key(self, flow: str) -> DerivedKey:
        """Signs the flow's seals and the tickets of its schedules."""
        return self._derive(b"flow", flow)

    def run_key(self, run_id: str) -> DerivedKey:
        """Signs the run's ticket, journals, results, failures and logs."""
        return self._derive(b"run", run_id)

    def export(self) -> str:
        """The key as text. Whoever reads it can read and sign everything of this home."""
        return _MASTER_PREFIX + _text_of(self.secret)

    @classmethod
    def parse(cls, text: str) -> MasterKey | None:
        """Read what `export` wrote, or the bare base64 of 32 bytes; None if the text is neither."""
        secret = _bytes_of(text.strip().removeprefix(_MASTER_PREFIX))
        return cls(secret) if secret is not None else None

    def _derive(self, kind: bytes, name: str) -> DerivedKey:
        owner = name.encode()
        message = b"playhead derive 1 %d:%b%d:%b" % (len(kind), kind, len(owner), owner)
        return DerivedKey(self.id, hmac.digest(self.secret, message, "sha256"))


@dataclass(frozen=True)
class KeyRing:
    """The key that signs now, and the older ones that still verify, newest first."""

    current: MasterKey
    older: tuple[MasterKey, ...] = ()

    @property
    def all(self) -> tuple[MasterKey, ...]:
        """The current one first."""
        return (self.current, *self.older)

    def by_id(self, key_id: str) -> MasterKey:
        """The key of that id. TrustError: it is not in this ring."""
        for key in self.all:
            if key.id == key_id:
                return key
        have = ", ".join(key.id for key in self.all)
        raise TrustError(
            f"the key {key_id} is not here; there is {have}",
            hint="take it in from where it is (playhead key export, key import), or name it with PLAYHEAD_KEY",
        )

    def flow_key(self, flow: str, *, key_id: str | None = None) -> DerivedKey:
        return self._chosen(key_id).flow_key(flow)

    def run_key(self, run_id: str, *, key_id: str | None = None) -> DerivedKey:
        return self._chosen(key_id).run_key(run_id)

    def signing_with(self, key: MasterKey) -> KeyRing:
        """This ring with `key` as the one that signs; the others verify. TrustError: it would be too large."""
        return _ring(key, *self.all)

    def verifying_with(self, *keys: MasterKey) -> KeyRing:
        """This ring with these keys as the newest of those that verify. TrustError: it would be too large."""
        return _ring(self.current, *keys, *self.older)

    def without(self, key_id: str) -> KeyRing:
        """This ring without the older key of that id."""
        return KeyRing(self.current, tuple(key for key in self.older if key.id != key_id))

    def _chosen(self, key_id: str | None) -> MasterKey:
        return self.current if key_id is None else self.by_id(key_id)


def _ring(*keys: MasterKey) -> KeyRing:
    current, *older = dict.fromkeys(keys)
    if len(older) >= MAX_KEYS:
        raise TrustError(
            f"a ring of {len(older) + 1} keys; {MAX_KEYS} is the most",
            hint="forget the oldest: `playhead key forget ID`",
        )
    return KeyRing(current, tuple(older))


def _text_of(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _bytes_of(text: str) -> bytes | None:
    """32 bytes from base64; None for anything else. The alphabet with '/' only with its padding: else a path may look like it."""
    if text.endswith("="):
        text = text[:-1].replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(f"{text}=") if _KEY_TEXT.fullmatch(text) else None
