"""The session: what a flow's code talks to while it runs. Gives each call its place, remembers what was recorded there, and waits.

It implements the port `playhead.flows.context.Session`. Starting calls is the launcher's; delivering outcomes is the inbox's; the
session decides what a place in the flow means: asked for anew, asked for before, or asked for differently (then the run diverged).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import repeat
from typing import Any

from playhead.core import events as ev
from playhead.core.events import MAX_UPSTREAM, FactKind
from playhead.core.names import Micros, TaskKey
from playhead.errors import Diverged, MisusedCall
from playhead.flows.context import CallRequest, CurrentRun
from playhead.flows.future import TaskFuture, TaskFutures, Waiter
from playhead.journal.format import Record
from playhead.journal.reader import load_payload
from playhead.runner.binding import find_all, single_futures, upstream_keys
from playhead.runner.calls import Call, Ending, Stage
from playhead.runner.identity import Identity, check_length
from playhead.runner.launcher import Launcher
from playhead.runner.mapping import Arguments, Mapping, mapping_of
from playhead.runner.means import Means
from playhead.runner.places import Places
from playhead.runner.pump import Delivery, Inbox
from playhead.runner.recall import Place, Recall
from playhead.runner.timers import Timer
from playhead.runner.upkeep import moment_after
from playhead.trust.payload import dump, load


class FlowSession:
    """One flow run in this process. `loop` is the flow's own (for a flow that is not async: one that never runs)."""

    def __init__(
        self,
        means: Means,
        recall: Recall,
        current: CurrentRun,
        loop: asyncio.AbstractEventLoop,
        *,
        is_async: bool,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.current = current
        self.identity = Identity(is_async=is_async)
        self.inbox = Inbox(asked=self._asked, caught_up=self._caught_up)
        self.launcher = Launcher(means, self.inbox, current, fail)
        self._means = means
        self._recall = recall
        self._places = Places(recall, means.journal)
        self._loop = loop
        self._flow_is_async = is_async
        self._thread = threading.current_thread()
        self._timers: dict[TaskKey, Timer] = {}
        self._ended = False
        self._task_factory: object = None

    def begin(self) -> None:
        """The running code is the flow's own from here on."""
        self.identity.enter_root()
        self._thread = threading.current_thread()
        self._task_factory = self._loop.get_task_factory()
        self.inbox.load(self._recall.order)

    def end(self) -> None:
        """The flow's function has ended: its futures are of no use any more."""
        self._ended = True

    @property
    def log_prints(self) -> bool:
        return self._means.log_prints

    @property
    def is_async(self) -> bool:
        scope = self.identity.current_or_none()
        return scope.is_async if scope is not None else self._flow_is_async

    # --- calls -----------------------------------------------------------------------------------------------------------------

    def submit(self, request: CallRequest) -> TaskFuture[Any]:
        self._check_running()
        scope = self.identity.current()
        key = scope.named_key(request.key) if request.key else scope.next_key(request.task.name)
        arguments = request.args, request.kwargs
        found = find_all(*arguments, request.wait_for)
        needs = self._needs(found)
        self._ask(key, request, arguments, upstream_keys(found))
        call = self._call(key, request, arguments)
        self._add([call], [needs])
        return call.future

    def map(self, request: CallRequest) -> TaskFutures[Any]:
        self._check_running()
        scope = self.identity.current()
        base = scope.named_key(request.key) if request.key else scope.next_key(request.task.name)
        mapping = mapping_of(base, request, self._list_of)
        keys = [TaskKey(f"{base}.{index}") for index in range(len(mapping.elements))]
        check_length(keys[-1] if keys else base)
        calls = (
            self._map_mixed(keys, request, mapping)
            if mapping.aligned is None
            else self._map_evenly(base, keys, request, mapping, mapping.aligned)
        )
        return TaskFutures(base, [call.future for call in calls])

    def _map_evenly(
        self,
        base: TaskKey,
        keys: list[TaskKey],
        request: CallRequest,
        mapping: Mapping,
        aligned: tuple[TaskFutures[Any], ...],
    ) -> list[Call]:
        """All elements need the same, and of some other maps the element of their own number: one event asks for all."""
        found = find_all(mapping.shared, request.wait_for)
        shared = self._needs(found)
        own = [self._needs([future]) for future in aligned]
        after = upstream_keys(found)
        self._check_upstream(base, after)
        mapped = ev.TaskMapped(
            at=self._now(), key=base, name=request.task.name, width=len(keys), after=after, each=upstream_keys(aligned)
        )
        self._places.ask(base, mapped, mapping.elements)
        needs = [(*row, *shared) for row in zip(*own, strict=True)] if own else repeat(shared, len(keys))
        return self._call_all(keys, request, mapping, needs)

    def _map_mixed(self, keys: list[TaskKey], request: CallRequest, mapping: Mapping) -> list[Call]:
        """Each element needs what it needs, and is asked for by itself."""
        found = [find_all(*arguments, request.wait_for) for arguments in mapping.elements]
        needs = [self._needs(each) for each in found]
        for key, arguments, each in zip(keys, mapping.elements, found, strict=True):
            self._ask(key, request, arguments, upstream_keys(each))
        return self._call_all(keys, request, mapping, needs)

    def _call_all(
        self, keys: list[TaskKey], request: CallRequest, mapping: Mapping, needs: Iterable[tuple[Call, ...]]
    ) -> list[Call]:
        calls = [self._call(key, request, arguments) for key, arguments in zip(keys, mapping.elements, strict=True)]
        self._add(calls, needs)
        return calls

    def _ask(self, key: TaskKey, request: CallRequest, arguments: Arguments, after: tuple[TaskKey, ...]) -> None:
        """Record that this one call was asked for."""
        self._check_upstream(key, after)
        asked = ev.TaskSubmitted(at=self._now(), key=key, name=request.task.name, after=after)
        self._places.ask(key, asked, [arguments])

    def _call(self, key: TaskKey, request: CallRequest, arguments: Arguments) -> Call:
        future: TaskFuture[Any] = TaskFuture(self, key, self._loop)
        call = Call(key, request.task, *arguments, future)
        place = self._recall.places.get(key)
        if place is not None:
            _recollect(call, place, self._means)
        return call

    def _add(self, calls: Sequence[Call], needs: Iterable[tuple[Call, ...]]) -> None:
        self.launcher.add(calls, needs)
        if self.inbox.catching_up:
            self.inbox.wake()  # another thread may wait for this to be asked for

    def _needs(self, found: Sequence[TaskFuture[Any] | TaskFutures[Any]]) -> tuple[Call, ...]:
        """The calls whose values are taken, or waited for. MisusedCall: one of another run; nothing was recorded yet."""
        return tuple(self._upstream(needed) for needed in single_futures(found)) if found else ()

    def _upstream(self, needed: TaskFuture[Any]) -> Call:
        if needed._session is not self:  # pyright: ignore[reportPrivateUsage]  # a future and its session are one thing
            needed._refuse_foreign()  # pyright: ignore[reportPrivateUsage]
            raise MisusedCall(
                f"the future of task {needed.key} belongs to another flow run", hint="hand on its value instead"
            )
        needed.looked_at = True
        upstream = self.launcher.call_of(needed.key)
        assert upstream is not None
        return upstream

    def _list_of(self, future: TaskFuture[Any]) -> Sequence[Any]:
        """The list that a future brings; the flow waits for it."""
        self._pump_until(future.done, self.launcher.call_of(future.key))
        return list(future.result())

    def _check_upstream(self, key: TaskKey, after: tuple[TaskKey, ...]) -> None:
        if len(after) > MAX_UPSTREAM:
            raise MisusedCall(
                f"task {key} takes {len(after)} futures, more than {MAX_UPSTREAM}",
                hint="pass a whole map, or reduce in steps",
            )

    def _check_running(self) -> None:
        if self._ended:
            raise MisusedCall(
                f"flow run {self.current.id} has ended", hint="submit tasks while the flow's function runs"
            )
        if self._flow_is_async and self._loop.get_task_factory() is not self._task_factory:
            raise MisusedCall(
                "the task factory of the flow's loop was replaced",
                hint="eager task factories change the order in which a flow asks for its tasks: leave the loop's own",
            )

    # --- facts and timers ------------------------------------------------------------------------------------------------------

    def fact(self, kind: FactKind, make: Callable[[], Any]) -> Any:
        self._check_running()
        key = self.identity.current().next_key(kind.value)
        place = self._recall.places.get(key)
        if place is not None and place.outcome is not None:
            if place.outcome.type != ev.FactRecorded.TYPE or place.outcome.data.get("kind") != kind.value:
                raise Diverged(f"{key} was {place.outcome.type}, now it is a fact of kind {kind.value}", task_key=key)
            self.inbox.taken(key)
            return load(load_payload(self._means.storage, place.outcome, where=str(key)))
        payload = dump(make())
        event = ev.FactRecorded(at=self._now(), key=key, kind=kind)
        # The flow's own thread does not lead: under load it would write for others, and Ctrl-C may strike it anywhere.
        count = self._means.journal.append(Record(event.TYPE, event.SCHEMA, ev.encode(event), None, payload))
        self._means.upkeep.kick()
        self._means.journal.wait(count)
        return load(payload)

    async def sleep(self, delay: timedelta) -> None:
        timer = self._timer("sleep", delay)
        try:
            await timer.fired
        finally:
            timer.drop()

    def sleep_blocking(self, delay: timedelta) -> None:
        if self.is_async:
            raise MisusedCall("sleep_blocking() would block this async flow", hint="await playhead.sleep(...)")
        timer = self._timer("sleep", delay)
        self._pump_until(timer.fired.done, timer)

    def timeout(self, delay: timedelta) -> AbstractAsyncContextManager[None]:
        return self._timeout(delay)

    @asynccontextmanager
    async def _timeout(self, delay: timedelta) -> AsyncGenerator[None]:
        timer = self._timer("timeout", delay)
        task = asyncio.current_task()
        assert task is not None
        expired = inside = False

        def fire(_: object) -> None:
            nonlocal expired
            if inside:
                expired = True
                task.cancel()

        timer.fired.add_done_callback(fire)
        cancelling = task.cancelling()
        try:
            inside = True
            yield
        except asyncio.CancelledError as error:
            if expired and task.cancelling() - 1 <= cancelling:
                raise TimeoutError(f"the block took longer than {delay}") from error
            raise
        finally:
            inside = False
            if expired:
                task.uncancel()  # also where the block took no notice: the cancel was this timeout's, and is over with it
            timer.fired.remove_done_callback(fire)
            timer.drop()

    def _timer(self, name: str, delay: timedelta) -> Timer:
        self._check_running()
        key = self.identity.current().next_key(name)
        place = self._recall.places.get(key)
        due = moment_after(self._now(), delay)
        if place is not None and place.asked is not None:
            if place.asked.type != ev.TimerSet.TYPE:
                raise Diverged(f"{key} was {place.asked.type}, now it is a timer", task_key=key)
            due = Micros(place.asked.data["due"])
        else:
            event = ev.TimerSet(at=self._now(), key=key, due=due)
            self._means.journal.append(Record(event.TYPE, event.SCHEMA, ev.encode(event)))
        timer = Timer(key, due, Waiter(loop=self._loop), self._means, self.inbox)
        self._timers[key] = timer
        if place is None or place.outcome is None:
            timer.arm(waits=self.inbox.catching_up)
        return timer

    # --- places of their own ------------------------------------------------------------------------------------------------------

    @contextmanager
    def subflow(self, name: str, *, is_async: bool) -> Generator[None]:
        self._check_running()
        self.identity.current()
        with self.identity.opened(name, is_async=is_async):
            yield

    @contextmanager
    def scope(self, name: str) -> Generator[None]:
        with self.launcher.lock:
            opened = self.identity.opened(name)
        with opened:
            yield

    # --- waiting -------------------------------------------------------------------------------------------------------------------

    def wait(self, future: TaskFuture[Any]) -> None:
        if self.is_async and threading.current_thread() is self._thread:
            raise MisusedCall(
                f"the future of task {future.key} is not done, and .result() would block this async flow",
                hint=f"await the future of {future.key}",
            )
        self._pump_until(future.done, self.launcher.call_of(future.key))

    def _pump_until(self, done: Callable[[], bool], what: Call | Timer | None) -> None:
        """Deliver until then. In a flow that is not async whoever waits delivers, one thread at a time: the flow's own thread
        may be waiting for the others, and then nobody else would. In an async flow another thread leaves it to the loop."""
        if self._flow_is_async and threading.current_thread() is not self._thread:
            self.inbox.wait_delivered(done)
            return
        while not done():
            if self.inbox.deliver_one():
                continue
            if self.inbox.catching_up and not self.identity.has_foreign:
                self.inbox.refuse_divergence()
            self.inbox.wait(done, lambda: what is None or what.counts)

    async def drain(self) -> None:
        """Until everything that was asked for has ended and was delivered; for async flows. What the flow has left behind
        (asyncio tasks, threads) may ask for nothing more."""
        self._ended = True
        for call in self.launcher.all_calls():
            if not call.delivered:
                call.landed = Waiter(loop=self._loop)
                await call.landed
        self._refuse_leftovers()

    def drain_blocking(self) -> None:
        self._ended = True
        for call in self.launcher.all_calls():
            self._pump_until(lambda: call.delivered, call)  # noqa: B023  # called before the next turn of the loop
        self._refuse_leftovers()

    def _refuse_leftovers(self) -> None:
        """The flow has asked for all that it wants: what is recorded beyond that, it wanted once."""
        while self.inbox.catching_up:
            if not self.inbox.deliver_one():
                self.inbox.refuse_divergence()

    def unseen_failure(self) -> tuple[TaskKey, BaseException] | None:
        """The first failed task that neither the flow nor another task looked at, and its failure."""
        for call in self.launcher.all_calls():
            if call.failure is not None and not call.future.looked_at:
                return call.key, call.failure
        return None

    def failed_task(self, error: BaseException) -> TaskKey | None:
        """The task whose failure this exception is, or was caused by."""
        chain: list[BaseException] = []
        at: BaseException | None = error
        while at is not None and at not in chain:
            chain.append(at)
            at = at.__cause__ or at.__context__
        for call in self.launcher.all_calls():
            if call.failure is not None and any(call.failure is each for each in chain):
                return call.key
        return None

    # --- for the inbox ------------------------------------------------------------------------------------------------------------

    def _asked(self, key: TaskKey) -> Delivery | None:
        call = self.launcher.call_of(key)
        if call is not None:
            return call
        return self._timers.get(key)

    def _caught_up(self) -> None:
        self.launcher.open_gate()
        for timer in list(self._timers.values()):
            timer.go()

    def _now(self) -> int:
        return self._means.upkeep.now()


def _recollect(call: Call, place: Place, means: Means) -> None:
    call.attempt = place.attempts + 1
    call.losses = place.losses
    call.resting_until = place.retry_at
    if place.outcome is not None:
        call.ending = Ending(place.outcome, means.storage)
        call.stage = Stage.ENDED
        call.recorded = True
