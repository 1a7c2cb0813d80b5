"""Storage as a disk has it: what was written can be seen at once, what was flushed stays. Owns the bytes and the torn tails.

A disk is shared by all processes; each has a view of its own, so that what a dead process tries never arrives.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from playhead.errors import AlreadyExists, NoSuchObject, StorageUnavailable
from playhead.ports.storage import STORAGE_MARKER
from playhead.storage.paths import check_path, check_prefix
from tests.simulation.fibers import Process, Schedule


@dataclass
class Stored:
    content: bytearray
    durable: int  # how many of its bytes were flushed


@dataclass
class Disk:
    """`failing` is how likely a flush fails; `failed` counts those that did."""

    schedule: Schedule
    rng: random.Random
    failing: float = 0.0
    failed: int = 0
    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])

    def __post_init__(self) -> None:
        marker = bytearray(b"%032x\n" % 0xD15C)
        self.objects[STORAGE_MARKER] = Stored(marker, len(marker))

    def lose_power(self) -> None:
        """What was not flushed is gone."""
        for stored in self.objects.values():
            del stored.content[stored.durable :]

    def seen_by(self, process: Process) -> DiskView:
        return DiskView(self, process)

    @property
    def durable(self) -> Flushed:
        return Flushed(self)


class DiskView:
    """The storage of one process. Every operation may be its last, before it, in the middle of it, or before its answer."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self.disk = disk
        self._process = process

    @property
    def id(self) -> str:
        return f"{0xD15C:032x}"

    @property
    def url(self) -> str:
        return "simulated:"

    def create_if_absent(self, path: str, data: bytes) -> None:
        self.step(f"create {_short(path)}")
        self._create(path, data)
        self.step(f"created {_short(path)}")

    def open_append(self, path: str) -> DiskAppend:
        self.step(f"open {_short(path)}")
        self._create(path, b"")
        self.step(f"opened {_short(path)}")
        return DiskAppend(self, self.disk, path)

    def append_loose(self, path: str, data: bytes) -> None:
        self.step(f"log {_short(path)}")
        stored = self.disk.objects.setdefault(check_path(path), Stored(bytearray(), 0))
        stored.content += data

    def read(self, path: str, *, start: int = 0) -> bytes:
        self.step(f"read {_short(path)}")
        stored = self.disk.objects.get(check_path(path))
        if stored is None:
            raise NoSuchObject(f"there is no {path} on the disk")
        return bytes(stored.content[start:])

    def settle(self, path: str) -> None:
        self.step(f"settle {_short(path)}")
        stored = self.disk.objects.get(check_path(path))
        if stored is None:
            raise NoSuchObject(f"there is no {path} on the disk")
        stored.durable = len(stored.content)
        self.step(f"settled {_short(path)}")

    def exists(self, path: str) -> bool:
        self.step(f"look {_short(path)}")
        found = check_path(path) in self.disk.objects
        self.step(f"looked {_short(path)}")
        return found

    def list(self, prefix: str) -> Sequence[str]:
        self.step(f"list {_short(prefix)}")
        return _below(self.disk, prefix)

    def step(self, label: str) -> None:
        self._process.check_alive()
        self.disk.schedule.pause(label)

    def _create(self, path: str, data: bytes) -> None:
        stored = Stored(bytearray(data), len(data))
        if self.disk.objects.setdefault(check_path(path), stored) is not stored:
            raise AlreadyExists(f"{path} is there already")


class DiskAppend:
    """One growing object."""

    def __init__(self, view: DiskView, disk: Disk, path: str) -> None:
        self._view = view
        self.disk = disk
        self._path = path
        self._stored = disk.objects[path]
        self._abandoned = False

    def append(self, data: bytes) -> None:
        if self._abandoned:
            raise StorageUnavailable(f"{self._path} is closed and takes nothing more", hint="go on in a new object")
        name = _short(self._path)
        self._view.step(f"append {name}")
        torn = self.disk.rng.randrange(len(data) + 1)
        self._stored.content += data[:torn]
        self._view.step(f"half written {name}")
        fails = self.disk.rng.random() < self.disk.failing
        if not fails or self.disk.rng.random() < 0.5:
            self._stored.content += data[torn:]
        self._view.step(f"written {name}")
        if fails:
            self.disk.failed += 1
            self._abandoned = True
            raise StorageUnavailable(f"{self._path}: the flush failed", hint="this is simulated")
        self._stored.durable = len(self._stored.content)
        self._view.step(f"flushed {name}")

    def close(self) -> None:
        self._abandoned = True


class Flushed:
    """What would be left if all power failed now. For those who check: it takes no time, and is always there."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    id = f"{0xD15C:032x}"
    url = "simulated:"

    def read(self, path: str, *, start: int = 0) -> bytes:
        stored = self.disk.objects.get(path)
        if stored is None:
            raise NoSuchObject(f"there is no {path} on the disk")
        return bytes(stored.content[start : stored.durable])

    def exists(self, path: str) -> bool:
        return path in self.disk.objects

    def list(self, prefix: str) -> Sequence[str]:
        return _below(self.disk, prefix)

    def create_if_absent(self, path: str, data: bytes) -> None:
        raise NotImplementedError("whoever only looks writes nothing")

    def settle(self, path: str) -> None:
        raise NotImplementedError("whoever only looks writes nothing")

    def open_append(self, path: str) -> DiskAppend:
        raise NotImplementedError("whoever only looks writes nothing")

    def append_loose(self, path: str, data: bytes) -> None:
        raise NotImplementedError("whoever only looks writes nothing")


def _below(disk: Disk, prefix: str) -> list[str]:
    below = f"{check_prefix(prefix)}/" if prefix else ""
    return sorted(path for path in list(disk.objects) if path.startswith(below))


def _short(path: str) -> str:
    """Without the run's id and the grant, which every path holds."""
    parts = path.split("/")
    return "/".join([parts[2].partition("-")[0], *parts[3:]]) if parts[0] == "runs" and len(parts) > 2 else path
