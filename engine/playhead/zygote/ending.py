"""How a runner ended, as its zygote writes it down: for the agent that waits, and in the runner's folder for one that comes later."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

MAX_BYTES: Final = 64

_FILE: Final = "exit"
_PRIVATE_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Ending:
    """Exactly one is set. Whoever holds it knows, too, that the rest of the runner's process group was killed before."""

    exit_code: int | None = None
    signal: int | None = None

    def __post_init__(self) -> None:
        assert (self.exit_code is None) != (self.signal is None)

    def to_bytes(self) -> bytes:
        """`code 0` or `signal 9`, and the end of a line."""
        text = f"code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
        return f"{text}\n".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """None: it is not, or not yet, a whole one."""
        kind, _, number = data.decode("ascii", "replace").partition(" ")
        if not number.endswith("\n") or not number[:-1].isdecimal() or kind not in ("code", "signal"):
            return None
        return cls(exit_code=int(number)) if kind == "code" else cls(signal=int(number))

    def write(self, folder: str) -> None:
        """Into the runner's folder. Not flushed: what loses it has ended the agent, too. A folder that is gone needs no ending."""
        with suppress(OSError):
            fd = os.open(f"{folder}/{_FILE}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE_FILE)
            try:
                os.write(fd, self.to_bytes())
            finally:
                os.close(fd)

    @classmethod
    def read(cls, folder: str) -> Self | None:
        """None: no zygote has seen the end of this folder's runner, or its word is lost."""
        try:
            fd = os.open(f"{folder}/{_FILE}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return cls.from_bytes(os.read(fd, MAX_BYTES))
        finally:
            os.close(fd)
