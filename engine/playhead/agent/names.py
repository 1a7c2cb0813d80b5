"""Agents' names and folders: random words unless one is chosen, kept in the home, and held by one agent at a time.

A name crosses to the server, so it says nothing of the machine or its user. `<home>/agents/<name>/lock` is held (a flock that
no child inherits) for as long as the agent lives; a restarted agent takes the first name of its kind that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playhead.core.names import check_name
from playhead.errors import StorageUnavailable, UsageError

MAX_TRIES: Final = 100  # at random names: each is free but for one in 67 million

_LOCK: Final = "lock"  # holds the agent's kind, so that agents of two kinds do not take each other's names
_MANNERS: Final = (
    "able", "bold", "brave", "brisk", "bright", "calm", "clever", "cosy", "deft", "eager", "early", "fair", "fleet", "fond",
    "gentle", "glad", "grand", "happy", "hardy", "jolly", "keen", "kind", "lively", "loyal", "merry", "neat", "noble", "plain",
    "proud", "quick", "quiet", "ready",
)  # fmt: skip
_ANIMALS: Final = (
    "badger", "beaver", "bison", "crane", "curlew", "dipper", "dormouse", "egret", "falcon", "ferret", "finch", "gannet", "hare",
    "hedgehog", "heron", "ibex", "jackdaw", "kestrel", "lapwing", "lynx", "magpie", "marten", "mole", "newt", "osprey", "otter",
    "plover", "robin", "seal", "stork", "swift", "vole",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """A name, and the folder that is this agent's alone while it holds the name."""

    name: str
    folder: Path


def random_name() -> str:
    """`brisk-otter-4f2a`"""
    return f"{secrets.choice(_MANNERS)}-{secrets.choice(_ANIMALS)}-{secrets.token_hex(2)}"


@contextmanager
def held_name(home: Path, kind: str, wanted: str | None = None) -> Generator[AgentPlace, None, None]:
    """Hold a name of this home: the one that is wanted, else one that an earlier agent of this kind had, else a new one.

    UsageError: the wanted name is no name, is held by another agent, or belongs to another kind. StorageUnavailable: the home
    cannot be written.
    """
    agents = home / "agents"
    try:
        agents.mkdir(parents=True, exist_ok=True)
        name, lock = _taken(agents, kind, wanted)
    except OSError as error:
        raise StorageUnavailable(
            f"cannot keep an agent's name in {agents}: {error.strerror}",
            hint="let this user write there, or choose another home with PLAYHEAD_HOME",
        ) from error
    try:
        yield AgentPlace(name, agents / name)
    finally:
        os.close(lock)


def _taken(agents: Path, kind: str, wanted: str | None) -> tuple[str, int]:
    if wanted is not None:
        lock = _lock(agents / check_name("agent", wanted), kind)
        if lock is None:
            raise UsageError(
                f"the agent {wanted!r} of this home is at work, or is not a {kind} agent",
                hint="choose another name, or none: then a free one is taken",
            )
        return wanted, lock
    known = sorted(path.name for path in agents.iterdir() if (path / _LOCK).is_file())
    for name in (*known, *(random_name() for _ in range(MAX_TRIES))):
        lock = _lock(agents / name, kind)
        if lock is not None:
            return name, lock
    raise UsageError(f"no free name was found in {agents}", hint="name the agent yourself")


def _lock(folder: Path, kind: str) -> int | None:
    """The descriptor that holds the name; None: another agent holds it, or it is of another kind."""
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    found = os.pread(fd, 64, 0).decode("utf-8", "replace")
    if found not in ("", kind):
        os.close(fd)
        return None
    os.pwrite(fd, kind.encode(), 0)
    return fd
