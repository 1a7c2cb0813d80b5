"""The master key of a home, and what is derived from it. Owns the key's file; signs nothing itself.

A key is the user's: it is in no event, no argument and no log line, and its text is shown only by `MasterKey.export`.
Key ids are keyed digests, so that they may be shown to a server.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playhead.errors import StorageUnavailable, TrustError
from playhead.storage.durable import create_exclusively, make_folders, unavailable

KEY_FILE: Final = "key"  # in the home: the current key's line, then the older ones
KEY_VARIABLE: Final = "PLAYHEAD_KEY"  # a key's text, or the path of a file that holds it
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
MAX_KEYS: Final = 64  # in one file: each is one rotation

_MASTER_PREFIX = "playhead-key-"
_DERIVED_PREFIX = "playhead-derived-"
_KEY_TEXT = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes
_PRIVATE_MODE = 0o600


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

    def by_id(self, key_id: str) -> MasterKey:
        """The key of that id. TrustError: it is not in this ring."""
        for key in (self.current, *self.older):
            if key.id == key_id:
                return key
        have = ", ".join(key.id for key in (self.current, *self.older))
        raise TrustError(
            f"the key {key_id} is not here; there is {have}",
            hint=f"set {KEY_VARIABLE} to the key that was in use then, or add its line to the home's key file",
        )

    def flow_key(self, flow: str, *, key_id: str | None = None) -> DerivedKey:
        return self._chosen(key_id).flow_key(flow)

    def run_key(self, run_id: str, *, key_id: str | None = None) -> DerivedKey:
        return self._chosen(key_id).run_key(run_id)

    def _chosen(self, key_id: str | None) -> MasterKey:
        return self.current if key_id is None else self.by_id(key_id)


def load_or_create(home: Path, env: Mapping[str, str]) -> KeyRing:
    """The keys of `home`; a first one is made if it has none. `PLAYHEAD_KEY` in `env` is used instead, if set.

    TrustError: the file or variable holds no key, or others may read the file. StorageUnavailable: it cannot be read or made.
    """
    given = env.get(KEY_VARIABLE, "").strip()
    if given:
        key = MasterKey.parse(given)
        return KeyRing(key) if key is not None else _read_named(Path(given).expanduser())
    path = home / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as error:
        raise unavailable(error, "read or make the key", path) from error


def _create(path: Path) -> None:
    """Make the first key; of several processes that try at once, one wins and the others read what it made."""
    make_folders(path.parent, mode=0o700)
    try:
        create_exclusively(path, MasterKey.random().export().encode() + b"\n", mode=_PRIVATE_MODE)
    except FileExistsError:
        if not path.is_file():
            raise


def _read_named(path: Path) -> KeyRing:
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrustError(  # without the text: it may be a key with a letter missing
            f"{KEY_VARIABLE} is neither a key nor the path of a file that is here",
            hint="a key is 43 characters of base64url, as in the file `key` of the home that it comes from",
        ) from error
    except OSError as error:
        raise StorageUnavailable(
            f"cannot read the file that {KEY_VARIABLE} names: {error.strerror}",
            hint="let this user read it, and only this user",
        ) from error


def _read(path: Path) -> KeyRing:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise TrustError(
                f"others than its owner may use the key in {path} (mode {mode:04o}), so it is not used",
                hint=f"chmod 600 {path}; if somebody may have read it, make a new key",
            )
        text = file.read(MAX_KEYS * 128).decode("ascii", "replace")
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    keys = [key for key in map(MasterKey.parse, lines) if key is not None]
    if not keys or len(keys) < len(lines):
        raise TrustError(
            f"{path} does not hold keys: each line must be one",
            hint="restore the file from a copy; without its key, what this home has sealed cannot be read",
        )
    return KeyRing(keys[0], tuple(keys[1:]))


def _text_of(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def _bytes_of(text: str) -> bytes | None:
    """32 bytes from base64; None for anything else. The alphabet with '/' only with its padding: else a path may look like it."""
    if text.endswith("="):
        text = text[:-1].replace("+", "-").replace("/", "_")
    return base64.urlsafe_b64decode(f"{text}=") if _KEY_TEXT.fullmatch(text) else None
