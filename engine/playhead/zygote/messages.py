"""What an agent and its zygote say to each other, and in which bytes. Owns the messages; sends nothing by itself.

They speak over a socket that keeps packets whole: one message is one packet, and the descriptors that belong to it go along.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import orjson

MAX_BYTES: Final = 128 * 1024  # of one packet: some paths and names; below what a socket takes at once
LAUNCH_DESCRIPTORS: Final = 4  # that go along with a Launch: the order's pipe, stdout, stderr, the pipe for the ending

MARKER: Final = "PLAYHEAD_RUNNER"  # the variable of the environment by which a runner and what it starts are known
MARKER_ROOM: Final = "." * 43  # what it holds in a zygote: as long as a run's id, a dash and the longest epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """To the zygote: make a runner."""

    folder: str  # where it works
    marker: str  # by which the kernel shows it
    environment: dict[str, str]  # in what else it differs from the zygote's
    import_paths: list[str]  # they come before the zygote's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """To the agent, once: all is imported, and there is one thread."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """To the agent: this process waits for its order. `started` is in clock ticks since boot."""

    pid: int
    started: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """To the agent: there is no such process. `spent`: nor will this zygote make another."""

    why: str
    spent: bool


Message = Launch | Ready | Forked | Refused

_KINDS: Final[dict[str, type[Message]]] = {kind.__name__: kind for kind in (Launch, Ready, Forked, Refused)}


def to_packet(message: Message) -> bytes:
    return orjson.dumps([type(message).__name__, asdict(message)])


def from_packet(packet: bytes) -> Message:
    """ValueError: it is no message; the other side is of another version."""
    try:
        kind, fields = orjson.loads(packet)
        return _KINDS[kind](**fields)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("a packet that is no message of an agent or a zygote") from error
