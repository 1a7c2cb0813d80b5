"""Fibers: real threads of which exactly one runs at a time, on a clock that only moves when all of them wait.

Owns who runs next, virtual time, and the life and death of simulated processes. Knows nothing of what the fibers do. Every choice
comes from one seeded generator, so that a seed is a schedule.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from _thread import allocate_lock, get_ident
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_TURNS: Final = 400_000  # of one simulation: beyond it the fibers chase each other
MAX_LAST_WORDS: Final = 20_000  # steps that a dying fiber may try: each raises Killed, so more of them is a loop

Ready = Callable[[], bool]


class Killed(BaseException):
    """The fiber's process is dead. It unwinds, and whatever it tries on the way raises this again."""


class Stuck(Exception):
    """Every fiber waits for something, and nothing is due."""


@dataclass(eq=False)
class Process:
    """What lives and dies together, on a machine, its `host`. A runner has the `run` and the `epoch` that it works for.

    `skew` is how far its wall clock is from the world's, in seconds. `on_end` is called once, when it is dead, by whoever has the turn.
    """

    name: str
    epoch: int = 0
    skew: float = 0.0
    host: str = ""
    run: str = ""
    dead: bool = False
    stopped_until: float = 0.0
    late_until: float = 0.0  # a fiber of it was held up until then
    last_words: int = 0
    fibers: list[Fiber] = field(default_factory=list["Fiber"])
    on_end: Callable[[], None] = lambda: None

    def die(self) -> None:
        """As the system ends a process: wherever its fibers are."""
        if not self.dead:
            self.dead = True
            self.on_end()

    def check_alive(self) -> None:
        if self.dead:
            self.last_words += 1
            assert self.last_words < MAX_LAST_WORDS, f"{self.name} is dead and does not end"
            raise Killed(self.name)


class Fiber(threading.Thread):
    """A thread that runs when it has the turn. Started and joined like any other, but only by fibers."""

    def __init__(
        self, schedule: Schedule, process: Process, name: str, target: Callable[[], object], *, daemon: bool = True
    ) -> None:
        super().__init__(name=f"{process.name}/{name}", daemon=daemon)
        self.process = process
        self.label = name
        self.ready: Ready | None = None  # None: it only waits for the turn
        self.deadline: float | None = None
        self.ended = False
        self.schedule = schedule
        self._work = target
        self.turn = allocate_lock()
        self.turn.acquire()

    def start(self) -> None:
        self.process.check_alive()
        super().start()
        self.schedule.admit(self)

    def run(self) -> None:
        _running[get_ident()] = self
        self.turn.acquire()
        try:
            self.process.check_alive()
            self._work()
        except Killed:
            pass
        except BaseException as error:  # a thread that dies of an error is a finding, not the test's end
            if not self.process.dead:
                self.schedule.on_death(self, error)
        finally:
            self.schedule.leave(self)
            del _running[get_ident()]

    def join(self, timeout: float | None = None) -> None:
        self.schedule.wait(lambda: self.ended, timeout)

    def is_alive(self) -> bool:
        return not self.ended

    def next_moment(self) -> float | None:
        """When time alone lets it run."""
        if self.ready is not None and self.deadline is None:
            return self.process.stopped_until or None
        return max(self.deadline or 0.0, self.process.stopped_until)


class Schedule:
    """`switching` is how likely a fiber gives up its turn at a pause. `before_step` sees every pause and may inject faults there;
    `on_death` hears of a fiber that ended by an error."""

    def __init__(self, rng: random.Random, *, switching: float) -> None:
        self.now = 0.0
        self.trace: list[tuple[float, str, str]] = []
        self.before_step: Callable[[Fiber, str], None] = lambda _fiber, _label: None
        self.on_death: Callable[[Fiber, BaseException], None] = lambda _fiber, _error: None
        self._rng = rng
        self._switching = switching
        self._fibers: list[Fiber] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._turns = 0
        self._root = allocate_lock()
        self._root.acquire()
        self._over: Ready = lambda: False
        self._stuck = False

    # --- from outside -----------------------------------------------------------------------------------------------------------

    def run(self, until: Ready) -> None:
        """Let the fibers run until then. Raises Stuck."""
        self._over = until
        self._stuck = False
        following = self._following()
        if following is not None:
            following.turn.release()
            self._root.acquire()
        if self._stuck:
            raise Stuck(", ".join(fiber.name for fiber in self._fibers))

    def spawn(self, process: Process, name: str, target: Callable[[], object]) -> Fiber:
        fiber = Fiber(self, process, name, target)
        fiber.start()
        return fiber

    def end(self) -> None:
        """Kill everything, and let it unwind."""
        for fiber in self._fibers:
            fiber.process.dead = True
        self.run(lambda: not self._fibers)
        self._timers.clear()

    # --- for fibers --------------------------------------------------------------------------------------------------------------

    def pause(self, label: str) -> None:
        """A place where others may run, and where this process may stop or die. In a thread that is no fiber: nothing."""
        fiber = current_fiber()
        if fiber is None:
            return
        fiber.process.check_alive()
        self.trace.append((self.now, fiber.name, label))
        self.before_step(fiber, label)
        fiber.process.check_alive()
        if fiber.process.stopped_until > self.now or self._rng.random() < self._switching:
            fiber.ready = None
            self._pass_on(fiber)

    def yield_turn(self) -> None:
        """As `pause`, where nothing is done that anybody could see: others may run, and no fault is injected."""
        fiber = current_fiber()
        assert fiber is not None
        fiber.process.check_alive()
        if self._rng.random() < self._switching:
            self._pass_on(fiber)

    def wait(self, ready: Ready, seconds: float | None = None) -> bool:
        """Until `ready`, or until `seconds` have passed. Whether it is ready."""
        fiber = current_fiber()
        assert fiber is not None
        fiber.process.check_alive()
        if not ready() and (seconds is None or seconds > 0):
            fiber.ready, fiber.deadline = ready, None if seconds is None else self.now + seconds
            self._pass_on(fiber)
            fiber.ready = fiber.deadline = None
        return ready()

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Call it at that moment of virtual time, in whichever thread has the turn. It must be short and never pause."""
        heapq.heappush(self._timers, (max(moment, self.now), next(self._order), call))

    def stop(self, process: Process, seconds: float) -> None:
        """As SIGSTOP, and SIGCONT that much later."""
        self.trace.append((self.now, process.name, f"stopped for {seconds:.2f} s"))
        process.stopped_until = max(process.stopped_until, self.now + seconds)

    def kill(self, process: Process) -> None:
        """As SIGKILL."""
        if not process.dead:
            self.trace.append((self.now, process.name, "killed"))
            process.die()

    # --- the turn ------------------------------------------------------------------------------------------------------------------

    def admit(self, fiber: Fiber) -> None:
        self._fibers.append(fiber)
        fiber.process.fibers.append(fiber)

    def leave(self, fiber: Fiber) -> None:
        """The fiber's last act: it hands the turn on and ends."""
        self._fibers.remove(fiber)
        fiber.process.fibers.remove(fiber)
        fiber.ended = True
        following = self._following()
        (following.turn if following is not None else self._root).release()

    def _pass_on(self, fiber: Fiber) -> None:
        following = self._following()
        if following is not fiber:
            (following.turn if following is not None else self._root).release()
            fiber.turn.acquire()
        fiber.process.check_alive()

    def _following(self) -> Fiber | None:
        """Who has the next turn; None is the caller of `run`."""
        self._turns += 1
        while not self._over():
            if self._turns > MAX_TURNS:
                self._stuck = True
                return None
            fiber = self._runnable()
            if fiber is not None:
                return fiber
            if not self._advance():
                self._stuck = True
                return None
        return None

    def _runnable(self) -> Fiber | None:
        """One that may run now, the first from a drawn place on. Written out: it is asked for a thousand times in a world."""
        fibers, now = self._fibers, self.now
        first = int(self._rng.random() * len(fibers))
        for fiber in (*fibers[first:], *fibers[:first]):
            process = fiber.process
            if process.dead:
                return fiber
            if process.stopped_until <= now:
                ready, deadline = fiber.ready, fiber.deadline
                if ready is None or (deadline is not None and now >= deadline) or ready():
                    return fiber
        return None

    def _advance(self) -> bool:
        """Time passes until something is due. False if nothing ever is."""
        moments = [
            moment for fiber in self._fibers if (moment := fiber.next_moment()) is not None and moment > self.now
        ]
        if self._timers:
            moments.append(self._timers[0][0])
        if not moments:
            return False
        self.now = max(self.now, min(moments))
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        return True


def current_fiber() -> Fiber | None:
    """The fiber that runs this code, if one does."""
    return _running.get(get_ident())


_running: Final[dict[int, Fiber]] = {}  # by the number of its thread
