"""The server's process: the real ASGI app over the real service and log, on a loop of its own. Owns its lives, not what it remembers.

It may be killed between any two of its steps, and is started again over the same records. Requests come from the network as ASGI has
them, so that what is on the way are bytes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from starlette.types import Message

from playhead.core.names import Micros
from playhead.errors import LogError
from playhead.log import Log
from playhead.ports.store import StoreBackend
from playhead.server.app import create_app
from playhead.server.streams import StreamLimits
from playhead.service import Service, ServiceSettings
from tests.simulation.fibers import Process, Schedule
from tests.simulation.interposed import WALL_START

URL: Final = "http://127.0.0.1:4200"
LEASE_SECONDS: Final = 4.0
SETTINGS: Final = ServiceSettings(
    lease_seconds=LEASE_SECONDS,
    sweep_seconds=0.5,
    launch_timeout_seconds=20.0,
    agent_silence_seconds=2 * LEASE_SECONDS,
    cancel_grace_seconds=2 * LEASE_SECONDS,
    behind_seconds=2.0,
)
AGAIN_SECONDS: Final = 1.0
STREAMS: Final = StreamLimits(heartbeat_seconds=3.0, longest_seconds=25.0)


@dataclass(frozen=True)
class Request:
    """As it is on the wire."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def verb(self) -> str:
        """What it asks for, in one word for those who read a trace."""
        return self.path.rpartition("/")[2] if self.path.count("/") > 2 else f"{self.method.lower()}{self.path}"


@dataclass(frozen=True)
class Head:
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]


class Opens(Protocol):
    """The log's storage. `open` begins a server's life on it."""

    def open(self, process: Process, /) -> StoreBackend: ...


class Caller(Protocol):
    """Where an answer goes. Nothing of it waits."""

    def head(self, head: Head) -> None: ...
    def chunk(self, chunk: bytes) -> None: ...
    def complete(self) -> None: ...
    def on_gone(self, tell: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event, on that loop, when the server can see that the caller is gone."""
        ...


class Server:
    """`start` begins a life, whatever became of the one before. `service` is None while there is none to ask."""

    def __init__(self, schedule: Schedule, rng: random.Random, log: Opens, host: str = "server") -> None:
        self._schedule = schedule
        self._clock = _Clock(schedule, rng)
        self._log = log
        self.host = host
        self.process = Process(f"{host}.0", host=host, dead=True)
        self.service: Service | None = None
        self.on_end: Callable[[Server], None] = lambda _server: None  # told before the service is forgotten
        self.up_since = 0.0
        self.lives = 0
        self._app: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._mourners: list[Callable[[], None]] = []

    @property
    def at_work_since(self) -> float:
        """Infinite while there is none, or while it is stopped."""
        stopped = self.process.stopped_until > self._schedule.now
        return math.inf if self.service is None or stopped else max(self.up_since, self.process.stopped_until)

    @property
    def leads(self) -> bool:
        """By its own word."""
        return self.service is not None and self.service.leads

    def start(self) -> None:
        if not self.process.dead:
            return
        self.lives += 1
        self.process = Process(f"{self.host}.{self.lives}", host=self.host, on_end=self._die)
        self._tasks, self._mourners = set(), []
        self._schedule.spawn(self.process, "loop", lambda: asyncio.run(self._serve()))

    def handle(self, request: Request, caller: Caller) -> Server | None:
        """Carry the request out, if there is a server: this one. In a timer: takes no time. None: nobody listens."""
        service, loop, process = self.service, self._loop, self.process
        if service is None or loop is None or process.dead:
            return None

        def begin() -> None:
            task = loop.create_task(self._carry_out(process, request, caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)
        return self

    def on_death(self, tell: Callable[[], None]) -> None:
        """Call this when the life that goes on now ends."""
        self._mourners.append(tell)

    def _die(self) -> None:
        self.on_end(self)
        self.service = None
        for tell in self._mourners:
            tell()

    async def _carry_out(self, process: Process, request: Request, caller: Caller) -> None:
        self._schedule.pause(f"handle {request.verb}")
        inbox: list[Message] = [{"type": "http.request", "body": request.body or b"", "more_body": False}]
        gone = asyncio.Event()
        caller.on_gone(gone, asyncio.get_running_loop())

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            process.check_alive()
            if message["type"] == "http.response.start":
                headers = {name.decode(): value.decode() for name, value in message["headers"]}
                caller.head(Head(message["status"], headers))
                return
            if message.get("body"):
                caller.chunk(message["body"])
            if not message.get("more_body", False):
                caller.complete()

        await self._app(_scope(request), receive, send)

    async def _serve(self) -> None:
        """As its supervisor has it: one that finds its store away when it begins is begun again."""
        process = self.process
        while self.service is None and not process.dead:
            try:
                await self._serve_once(process)
            except LogError:
                if self.service is not None:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)

    async def _serve_once(self, process: Process) -> None:
        async with (
            Log.open(self._log.open(process)) as log,
            Service(log, settings=SETTINGS, clock=self._clock) as service,
        ):
            self._app = create_app(service, limits=STREAMS)
            self._loop, self.service = asyncio.get_running_loop(), service
            self.up_since = self._schedule.now
            await asyncio.Event().wait()


class _Clock:
    def __init__(self, schedule: Schedule, rng: random.Random) -> None:
        self._schedule = schedule
        self._rng = rng

    def now(self) -> Micros:
        return Micros(round((WALL_START + self._schedule.now) * 1e6))

    def monotonic(self) -> float:
        return self._schedule.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)

    def new_id(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"


def _scope(request: Request) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1:4200")]
    if request.body:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(request.body))]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": f"/api{request.path}",
        "raw_path": f"/api{request.path}".encode(),
        "query_string": urlencode(request.query).encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 4200),
    }
