"""A home in a temporary folder, the real service over a log in memory, and a runner played by hand: real journals, real reports."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

import anyio.to_thread
import orjson
import pytest

from playhead.client.client import Client
from playhead.core import events as ev
from playhead.core.names import FLOW_KEY, Epoch, RunId, Seq
from playhead.errors import PlayheadError
from playhead.home import Home
from playhead.journal.format import Blob, Record
from playhead.journal.place import JournalPlace
from playhead.journal.writer import JournalWriter
from playhead.log import Log
from playhead.ports.server import AgentHello, Claimed, ClaimRequest, ReportRequest, ServerApi, StartRequest
from playhead.service import Service, ServiceSettings
from playhead.settings import Settings
from playhead.trust.envelope import record_mac
from playhead.trust.failure import dump_failure
from playhead.trust.payload import dump, size_class
from tests.stores import new_backend

CALM = ServiceSettings(lease_seconds=600.0, launch_timeout_seconds=600.0)
PYTHON = "3.11"
AT = 1_700_000_000_000_000  # some moment, in microseconds


def home_in(folder: Path, **env: str) -> Home:
    return Home.open(Settings.load({"home": str(folder)}, env=env), env=env)


@dataclass
class World:
    api: ServerApi
    home: Home
    client: Client

    async def runner(self, run: str) -> Runner:
        """Claim and start the run, as an agent and its runner do."""
        facts = ev.AgentJoined(
            agent="hand", kind="local", capacity=1, storages=(self.home.storage.id,), python=PYTHON, version="0",
            key_ids=(self.home.keys.current.id,),
        )  # fmt: skip
        await self.api.join(AgentHello(joined=facts))
        claimed = await self.api.claim(run, ClaimRequest(agent="hand", claim=token_hex(8)))
        await self.api.start(
            run,
            StartRequest(
                epoch=claimed.epoch, grant=claimed.grant, storage=self.home.storage.id, python=PYTHON, key_scheme=1
            ),
        )
        return Runner(self, claimed)


@asynccontextmanager
async def world(folder: Path) -> AsyncGenerator[World]:
    home = home_in(folder / "home")
    async with Log.open(await new_backend()) as log, Service(log, settings=CALM) as api:
        yield World(api, home, Client(api, home=home))


@dataclass
class Runner:
    """Writes records into the run's journal and reports them. Payloads of more than `inline` bytes become blobs."""

    world: World
    claimed: Claimed
    inline: int = 4096
    written: list[Record] = field(default_factory=list[Record])
    broken: list[PlayheadError] = field(default_factory=list[PlayheadError])

    def __post_init__(self) -> None:
        home, claimed = self.world.home, self.claimed
        self.key = home.keys.run_key(claimed.run, key_id=claimed.key_id)
        self.place = JournalPlace(RunId(claimed.run), Epoch(claimed.epoch), claimed.grant)
        self.journal = JournalWriter(
            home.storage, self.place, self.key.secret, on_durable=self._note, on_end=self.broken.append
        )

    def _note(self, _: Seq, records: Sequence[Record]) -> None:
        self.written += records

    async def say(self, event: ev.Event, payload: bytes | None = None) -> None:
        """One record, durable and then reported."""
        kept: bytes | Blob | None = payload
        if payload is not None and len(payload) > self.inline:
            path = self.place.blob(FLOW_KEY, 1, token_hex(4))
            self.world.home.storage.create_if_absent(path, payload)
            kept = Blob(path, sha256(payload).hexdigest(), len(payload))
        record = Record(event.TYPE, event.SCHEMA, ev.encode(event), None, kept)
        await anyio.to_thread.run_sync(lambda: self.journal.commit_and_wait(record))
        await self.world.api.report(
            self.claimed.run,
            ReportRequest(
                epoch=self.claimed.epoch, grant=self.claimed.grant, origin=self.claimed.epoch,
                first_seq=len(self.written) - 1, events=((record.type, record.schema, dict(record.data)),),
            ),
        )  # fmt: skip

    async def adopt(self) -> None:
        await self.say(ev.JournalAdopted(at=AT))

    async def succeed(self, value: object) -> None:
        payload = dump(value)
        await self.say(ev.RunSucceeded(at=AT, mac=self.mac(payload), size=size_class(len(payload))), payload)

    async def fail(self, error: BaseException, task: str | None = None) -> None:
        payload = dump_failure(error)
        event = ev.RunFailed(at=AT, category=ev.FailureCategory.RAISED, task=task, mac=self.mac(payload))
        await self.say(event, payload)

    async def fail_task(self, key: str, error: BaseException) -> None:
        payload = dump_failure(error)
        await self.say(ev.TaskSubmitted(at=AT, key=key, name=key))
        await self.say(ev.TaskStarted(at=AT, key=key))
        event = ev.TaskFailed(at=AT, key=key, category=ev.FailureCategory.RAISED, mac=self.mac(payload, key))
        await self.say(event, payload)

    def mac(self, payload: bytes, key: str = FLOW_KEY) -> str:
        return record_mac(self.key, self.claimed.run, key, 1, self.claimed.epoch, sha256(payload).digest())

    def log(self, **fields: Any) -> None:
        self.log_bytes(line(**fields) + b"\n")

    def log_bytes(self, data: bytes) -> None:
        self.world.home.storage.append_loose(self.place.log_lines, data)

    @property
    def folder(self) -> Path:
        """The journal's folder on the disk."""
        return self.world.home.path / "storage" / self.place.folder


def line(message: str, at: int = AT, **others: Any) -> bytes:
    fields: Mapping[str, Any] = {
        "at": at, "level": "INFO", "logger": "test", "task": None, "attempt": None, "message": message, **others
    }  # fmt: skip
    return orjson.dumps(fields)


def importable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What is in the folder can be imported by this program, and by no runner."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    importlib.invalidate_caches()


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(bytes(data))
