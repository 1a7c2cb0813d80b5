"""Where a user's keys are kept: a file in the home, or what `PLAYHEAD_KEY` gives. Owns making, reading and replacing that file.

One key a line, the one that signs first. The file is never written in place: whoever reads it, at any moment and after a loss of
power, finds the keys from before a change or those from after it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playhead.errors import StorageUnavailable, TrustError, UsageError
from playhead.storage.durable import create_exclusively, make_folders, replace_durably, unavailable
from playhead.trust.keys import MAX_KEYS, KeyRing, MasterKey

KEY_FILE: Final = "key"  # in the home
KEY_VARIABLE: Final = "PLAYHEAD_KEY"  # a key's text, or the path of a file that holds keys

_PRIVATE_MODE: Final = 0o600
_WARNING: Final = (
    "# Playhead keys, the one that signs first: whoever has this file can read and sign everything of the home"
)


class KeyFile:
    """The keys of a home. `path` is None where the variable holds the key itself: then they cannot be changed from here."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        given = env.get(KEY_VARIABLE, "").strip()
        self._given = MasterKey.parse(given) if given else None
        self._is_homes = not given
        self._path = Path(given).expanduser() if given else home / KEY_FILE
        self._read_as: tuple[int, int, int] | None = None
        self._newest: KeyRing | None = None

    @property
    def path(self) -> Path | None:
        return None if self._given is not None else self._path

    def current(self) -> KeyRing:
        """As `read`, but the file is read again only if it is another one by now: one system call."""
        if self._newest is None or self._changed():
            self._newest = self.read()
        return self._newest

    def read(self) -> KeyRing:
        """The keys as they are now; a home that has none gets its first.

        TrustError: the file or variable holds no key, or others may read the file. StorageUnavailable: it cannot be read or made.
        """
        if self._given is not None:
            return KeyRing(self._given)
        if not self._is_homes:
            return self._read_named()
        try:
            if not self._path.exists():
                _create(self._path)
            return self._read()
        except OSError as error:
            raise unavailable(error, "read or make the key", self._path) from error

    def change(self, how: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Put the ring that `how` makes of the newest one in its place, durable on return; one process at a time.

        UsageError: the key is in the variable. Raises what `read` and `how` raise; then nothing was changed.
        """
        if self._given is not None:
            raise UsageError(
                f"the key is in {KEY_VARIABLE} itself, and cannot be changed from here",
                hint=f"put it into a file that only you may read, and name that file with {KEY_VARIABLE}",
            )
        self.read()  # a home that has no key yet gets one
        try:
            path = self._path.resolve()
            with _locked(path.with_name(f"{path.name}.lock")):
                ring = how(self.read())
                replace_durably(path, _text_of(ring.all), mode=_PRIVATE_MODE)
        except OSError as error:
            raise unavailable(error, "write the keys to", self._path) from error
        return self.current()

    def _changed(self) -> bool:
        """Not where the file is gone, or cannot be seen: then what was read of it is all that there is."""
        if self._given is not None:
            return False
        try:
            return self._read_as != _which(self._path.stat())
        except OSError:
            return False

    def _read_named(self) -> KeyRing:
        try:
            return self._read()
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

    def _read(self) -> KeyRing:
        with self._path.open("rb") as file:
            found = os.fstat(file.fileno())
            mode = stat.S_IMODE(found.st_mode)
            if mode & 0o077:
                raise TrustError(
                    f"others than its owner may use the key in {self._path} (mode {mode:04o}), so it is not used",
                    hint=f"chmod 600 {self._path}; if somebody may have read it, make a new key: playhead key rotate",
                )
            text = file.read((MAX_KEYS + 1) * 128).decode("ascii", "replace")
        ring = parse_ring(text, str(self._path))
        self._read_as = _which(found)
        return ring


def load_or_create(home: Path, env: Mapping[str, str]) -> KeyRing:
    """The keys of `home`, as `KeyFile.read` gives them."""
    return KeyFile(home, env).read()


def parse_ring(text: str, where: str) -> KeyRing:
    """The keys in a text, one a line; lines that begin with # do not count. TrustError: a line is no key, or there is none."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    keys = [key for key in map(MasterKey.parse, lines) if key is not None]
    if not keys or len(keys) < len(lines):
        raise TrustError(
            f"{where} does not hold keys: each line must be one",
            hint="restore the file from a copy; without its key, what this home has sealed cannot be read",
        )
    return KeyRing(keys[0], tuple(keys[1:]))


def export(keys: Iterable[MasterKey], path: Path) -> None:
    """Write these keys to a new file that only its owner may read. UsageError: there is a file. StorageUnavailable."""
    try:
        create_exclusively(path, _text_of(keys), mode=_PRIVATE_MODE)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already, and is not written over", hint="name another file") from error
    except OSError as error:
        raise unavailable(error, "write the keys to", path) from error


def _create(path: Path) -> None:
    """Make the first key; of several processes that try at once, one wins and the others read what it made."""
    make_folders(path.parent, mode=0o700)
    try:
        create_exclusively(path, MasterKey.random().export().encode() + b"\n", mode=_PRIVATE_MODE)
    except FileExistsError:
        if not path.is_file():
            raise


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Only one process changes the keys at a time. The lock ends with its holder, however that ends."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _which(found: os.stat_result) -> tuple[int, int, int]:
    """Tells one file from the one that took its place."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def _text_of(keys: Iterable[MasterKey]) -> bytes:
    return "\n".join((_WARNING, *(key.export() for key in keys), "")).encode()
