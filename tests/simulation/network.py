"""The network: requests and streams on their way between each machine and the server. Owns what gets lost, late, doubled and cut off.

A request is a message, and so is each chunk of an answer that comes as it grows; those of one stream arrive in order, as a connection
has them, and those of different ones in any. Whoever is cut off in one direction still hears in the other.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final, Protocol

from playhead.errors import ServerUnreachable
from tests.simulation.fibers import Process, Schedule, current_fiber
from tests.simulation.server import LEASE_SECONDS, Caller, Head, Request, Server

GIVE_UP_SECONDS: Final = 6.0  # after which a request without an answer counts as lost
SILENCE_SECONDS: Final = 8.0  # of a stream, after which its reader gives it up


class Way(Flag):
    """To the server, from it, or both."""

    UP = auto()
    DOWN = auto()
    BOTH = UP | DOWN


@dataclass(frozen=True)
class Losses:
    """How likely each thing goes wrong with one message, and how late things come, in seconds."""

    request: float = 0.0
    answer: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    broken: float = 0.0  # a stream, with any of its chunks
    latest: float = 2 * LEASE_SECONDS


@dataclass(frozen=True)
class Answer:
    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


class Door(Protocol):
    """Where requests arrive. `handle` says who carries it out, if anybody listens."""

    def handle(self, request: Request, caller: Caller) -> Server | None: ...


class Network:
    """`losses` may change at any time. `on_answer(asker, request, sent at, answer)` hears of each answer when it is given, and
    `on_taken` when it has come to whoever asked."""

    def __init__(self, schedule: Schedule, rng: random.Random, server: Door) -> None:
        self.schedule = schedule
        self.rng = rng
        self.server = server
        self.losses = Losses()
        self.on_answer: Callable[[Process, Request, float, Answer], None] = _nobody
        self.on_taken: Callable[[Process, Request, float, Answer], None] = _nobody
        self._cuts: dict[tuple[Process | str, Way], float] = {}  # until when

    def cut_off(self, who: Process | str, seconds: float, way: Way = Way.BOTH) -> None:
        """Nothing gets through between this process, or this machine, and the server."""
        self.schedule.trace.append(
            (self.schedule.now, str(getattr(who, "name", who)), f"cut off {way.name} {seconds:.2f} s")
        )
        for one in way:
            self._cuts[who, one] = max(self._cuts.get((who, one), 0.0), self.schedule.now + seconds)

    def heal(self) -> None:
        self.losses = Losses()
        self._cuts.clear()

    def ask(self, request: Request) -> Future[Answer]:
        """Send a request from the fiber that runs; the future gets its answer, or ServerUnreachable."""
        fiber = current_fiber()
        assert fiber is not None
        self.schedule.pause(f"ask {request.verb}")
        exchange = _Exchange(self, fiber.process, request)
        exchange.send()
        return exchange.future

    def connect(self, request: Request) -> Connection:
        """Ask for an answer that is read as it comes."""
        fiber = current_fiber()
        assert fiber is not None
        self.schedule.pause(f"open {request.verb}")
        connection = Connection(self, fiber.process, request)
        connection.send()
        return connection

    def way(self) -> float:
        """How long a message takes."""
        if self.rng.random() < self.losses.late:
            return self.rng.uniform(0.0, self.losses.latest)
        return self.rng.uniform(0.001, 0.02)

    def lost(self, process: Process, way: Way) -> bool:
        now = self.schedule.now
        return any(self._cuts.get((who, way), 0.0) > now for who in (process, process.host))

    def note(self, process: Process, told: str) -> None:
        self.schedule.trace.append((self.schedule.now, process.name, told))


class _Exchange:
    """One request and its answer, which may both come several times or never."""

    def __init__(self, network: Network, asker: Process, request: Request) -> None:
        self._network = network
        self._asker = asker
        self._request = request
        self._sent_at = network.schedule.now
        self.future: Future[Answer] = Future()

    def send(self) -> None:
        network, schedule = self._network, self._network.schedule
        lost = network.rng.random() < network.losses.request
        for _ in range(0 if lost else 1 + (network.rng.random() < network.losses.doubled)):
            schedule.at(schedule.now + network.way(), self._arrive)
        # The other half of what is lost is noticed early, as a connection that was reset.
        patience = GIVE_UP_SECONDS * (network.rng.random() if lost and network.rng.random() < 0.5 else 1.0)
        schedule.at(schedule.now + patience, lambda: self._take(None))

    def _arrive(self) -> None:
        if self._network.lost(self._asker, Way.UP):
            return
        if self._network.server.handle(self._request, _Copy(self)) is None:
            schedule = self._network.schedule
            schedule.at(schedule.now + self._network.way(), lambda: self._take(None))  # nobody listens there

    def answer(self, answer: Answer) -> None:
        network, schedule = self._network, self._network.schedule
        network.on_answer(self._asker, self._request, self._sent_at, answer)
        if not (network.lost(self._asker, Way.DOWN) or network.rng.random() < network.losses.answer):
            schedule.at(schedule.now + network.way(), lambda: self._take(answer))

    def _take(self, answer: Answer | None) -> None:
        network, asker = self._network, self._asker
        if self.future.done() or asker.dead:
            return
        network.note(asker, f"answer to {self._request.verb}: {answer.status if answer is not None else 'none'}")
        if answer is None:
            self.future.set_exception(_unreachable(self._request))
            return
        network.on_taken(asker, self._request, self._sent_at, answer)
        self.future.set_result(answer)


class _Copy:
    """One arrival of a request at the server, which answers it whole."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._head: Head | None = None
        self._body = b""

    def head(self, head: Head) -> None:
        self._head = head

    def chunk(self, chunk: bytes) -> None:
        self._body += chunk

    def complete(self) -> None:
        assert self._head is not None, "an answer has a beginning"
        self._exchange.answer(Answer(self._head, self._body))

    def on_gone(self, tell: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        """A server that reads no more of a short request does not see that its caller has gone."""


class Connection:
    """A request whose answer comes in chunks. It may break at any of them, and then brings nothing more, in silence or by a reset."""

    def __init__(self, network: Network, reader: Process, request: Request) -> None:
        self._network = network
        self._reader = reader
        self._request = request
        self._inbox: deque[Head | bytes | ServerUnreachable | None] = deque()  # a head, chunks, then None: the end
        self._waiter: Future[None] | None = None
        self._newest = 0.0  # when the newest chunk arrives: none overtakes another
        self._broken = False
        self._closed = False
        self._gone: tuple[asyncio.Event, asyncio.AbstractEventLoop, Process] | None = None

    # --- the reader's end -----------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        network = self._network
        lost = network.lost(self._reader, Way.UP) or network.rng.random() < network.losses.request
        if not lost:
            network.schedule.at(network.schedule.now + network.way(), self._arrive)

    async def next(self) -> Head | bytes | None:
        """What comes next; None at the end. Raises ServerUnreachable when the connection broke, or was silent for too long."""
        if not self._inbox:
            self._waiter = Future()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await asyncio.wrap_future(self._waiter)
            except TimeoutError:
                raise _unreachable(self._request) from None
        item = self._inbox.popleft()
        if isinstance(item, ServerUnreachable):
            raise item
        return item

    def close(self) -> None:
        """The reader goes away; after a while the server sees it, unless they are cut off."""
        self._closed = True
        network = self._network
        if not (network.lost(self._reader, Way.UP) or self._reader.dead):
            network.schedule.at(network.schedule.now + network.way(), self._tell_gone)

    # --- the server's end -----------------------------------------------------------------------------------------------------------

    def head(self, head: Head) -> None:
        self._carry(head)

    def chunk(self, chunk: bytes) -> None:
        self._carry(chunk)

    def complete(self) -> None:
        self._carry(None)

    def on_gone(self, tell: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        fiber = current_fiber()
        assert fiber is not None, "it is the server who asks"
        self._gone = tell, loop, fiber.process

    def _arrive(self) -> None:
        if self._network.lost(self._reader, Way.UP):
            return
        server = self._network.server.handle(self._request, self)
        if server is None:
            self._put(_unreachable(self._request))
            return
        server.on_death(lambda: self._carry(_unreachable(self._request)))

    def _carry(self, item: Head | bytes | ServerUnreachable | None) -> None:
        network, schedule = self._network, self._network.schedule
        if self._broken or self._closed:
            return
        if network.rng.random() < network.losses.broken and not isinstance(item, ServerUnreachable):
            self._carry(_unreachable(self._request))
            self._tell_gone()
            return
        self._broken = isinstance(item, ServerUnreachable)
        if network.lost(self._reader, Way.DOWN):
            self._broken = True  # it hangs, half open, until its reader has waited for too long
            return
        self._newest = max(self._newest, schedule.now + network.way())
        schedule.at(self._newest, lambda: self._put(item))

    def _put(self, item: Head | bytes | ServerUnreachable | None) -> None:
        if self._closed or self._reader.dead:
            self._tell_gone()
            return
        self._inbox.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell_gone(self) -> None:
        if self._gone is not None:
            tell, loop, process = self._gone
            if not process.dead:
                loop.call_soon_threadsafe(tell.set)


def _nobody(_asker: Process, _request: Request, _sent_at: float, _answer: Answer) -> None:
    """Nobody wants to know."""


def _unreachable(request: Request) -> ServerUnreachable:
    return ServerUnreachable(f"no answer to {request.verb}", hint="this is simulated")
