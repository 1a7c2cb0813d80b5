"""The order: what an agent hands a runner, and how it crosses. Owns its fields and the pipe's format; acts on nothing.

An order holds the run's keys, so it crosses by an inherited pipe, or by a file that is put into a container before it starts: never as an
argument, a label or an environment variable. On either: the length as 4 bytes, big-endian, then that many bytes of JSON, then its end.
No message and no repr here shows a secret.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playhead.core import events as ev
from playhead.core.names import Name, RunIdField
from playhead.errors import UsageError

# Below the smallest buffer that Linux gives a pipe (one page, when a user has very many), so that writing an order never waits.
MAX_ORDER_BYTES: Final = 4_000
MAX_FILED_BYTES: Final = 256 * 1024  # of an order in a file, which may bring an environment along

_LENGTH: Final = struct.Struct(">I")
_HINT: Final = "a runner is started by an agent: `playhead agent local`, or `playhead up`"

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class RunnerOrder(BaseModel):
    """Run this run, as this epoch. `grant`, the keys, the token and the storage's URL are secrets of the user's side."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    server: str  # URL: http://…, or unix:///…
    agent: Name
    run: RunIdField
    epoch: ev.Ordinal
    grant: Annotated[ev.Hex, Field(repr=False)]
    flow: Name
    seal: ev.Hex
    origin: ev.Origin
    schedule_id: ev.Hex | None = None
    scheduled_for: ev.Moment
    preset_id: ev.Hex | None = None
    nonce: ev.Hex | None = None
    encrypt: bool = False  # what the run writes
    executor: Name
    storage_url: Annotated[str, Field(repr=False)]
    storage_id: ev.Hex
    key_id: ev.Hex
    run_key: Annotated[str, Field(repr=False)]  # text of a DerivedKey: signs what the run writes
    flow_key: Annotated[str, Field(repr=False)]  # text of a DerivedKey: verifies the flow's seal
    token: Annotated[str | None, Field(repr=False)] = None  # by which the server knows the runner of this epoch
    lease_seconds: Annotated[float, Field(gt=0)]
    log_level: LogLevel = "INFO"
    env: Annotated[dict[str, str], Field(repr=False)] = Field(
        default_factory=dict
    )  # the agent's, where it crosses by file

    def to_pipe(self, fd: int) -> None:
        """Write the order to the pipe's end `fd`. OSError: nobody reads it. The caller closes `fd`."""
        rest = memoryview(self._packed(MAX_ORDER_BYTES, "use a shorter storage URL"))
        while rest:
            rest = rest[os.write(fd, rest) :]

    def to_bytes(self) -> bytes:
        """The order as a file holds it. UsageError: it is too long."""
        return self._packed(MAX_FILED_BYTES, "give the agent's containers a smaller environment")

    @classmethod
    def from_pipe(cls, fd: int) -> RunnerOrder:
        """Read the order from the pipe's end `fd`, and close it. UsageError: there is no whole order in it."""
        try:
            data = _read_all(fd, MAX_ORDER_BYTES)
        except OSError as error:
            raise UsageError(f"the order cannot be read from descriptor {fd}: {error.strerror}", hint=_HINT) from None
        return cls.parse(data)

    @classmethod
    def from_file(cls, path: str) -> RunnerOrder:
        """Take the order out of a file, which is gone after that. UsageError: there is no whole order in it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            Path(path).unlink()
            data = _read_all(fd, MAX_FILED_BYTES)
        except OSError as error:
            raise UsageError(f"the order cannot be taken from {path}: {error.strerror}", hint=_HINT) from None
        return cls.parse(data, MAX_FILED_BYTES)

    @classmethod
    def parse(cls, data: bytes, most: int = MAX_ORDER_BYTES) -> RunnerOrder:
        """The order in these bytes, as `to_pipe` writes them. UsageError: it is cut short, too long, or has other fields."""
        if len(data) < _LENGTH.size:
            raise UsageError("there is no order: the agent ended before it gave one", hint=_HINT)
        (length,) = _LENGTH.unpack_from(data)
        if length > most or len(data) != _LENGTH.size + length:
            raise UsageError(f"the order is not whole: {length} bytes were announced, {len(data) - 4} came", hint=_HINT)
        try:
            return cls.model_validate_json(data[_LENGTH.size :])
        except ValidationError as error:
            where = ", ".join(_place(e["loc"]) for e in error.errors(include_input=False, include_url=False))
            raise UsageError(
                f"the order does not have the fields that this runner knows: {where}",
                hint="agent and runner must be of one version: start both from one environment",
            ) from None

    def _packed(self, most: int, hint: str) -> bytes:
        body = self.model_dump_json(exclude_defaults=True).encode()
        if len(body) > most:
            raise UsageError(f"the order for run {self.run} has {len(body)} bytes; {most} is the most", hint=hint)
        return _LENGTH.pack(len(body)) + body


def _read_all(fd: int, most: int) -> bytes:
    """Everything up to the end, or one byte more than an order may have. Closes `fd`."""
    limit = _LENGTH.size + most + 1
    data = b""
    try:
        while len(data) < limit:
            chunk = os.read(fd, limit - len(data))
            if not chunk:
                break
            data += chunk
    finally:
        os.close(fd)
    return data


def _place(location: tuple[int | str, ...]) -> str:
    """Where in the order, by the names of known fields only: an unknown name may be part of a secret."""
    first = location[0] if location else "all of it"
    return str(first) if first in RunnerOrder.model_fields or first == "all of it" else "an unknown field"
