"""The agent: joins a server, claims the runs that it can serve, keeps each in custody, drains, leaves. Owns capacity and its own life.

What a single run needs is in `custody`, what the server says is in `follower`, and where runners live is behind `infrastructure`.
An agent that is cancelled leaves its runners alone, for its next life to adopt, unless it was told to stop them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from playhead.agent.asking import passing, persistently
from playhead.agent.custody import Custody, Means
from playhead.agent.follower import Follower
from playhead.agent.infrastructure import Infrastructure, Launched
from playhead.agent.once import Pass
from playhead.agent.pace import Pace
from playhead.agent.ready import ReadyRuns
from playhead.agent.user_side import UserSide
from playhead.core import events as ev
from playhead.errors import NotFound, PlayheadError, Refused
from playhead.ports.server import AgentHello, ServerApi
from playhead.runner.bootstrap import LogLevel

_log = logging.getLogger("playhead.agent")


class Agent:
    """Custodian of flow runs on one infrastructure. `run` once; everything else may be called while it runs.

    `server_url` is where runners find the server. `capacity`: how many runners it has at a time.
    """

    def __init__(
        self,
        api: ServerApi,
        *,
        server_url: str,
        infrastructure: Infrastructure,
        user_side: UserSide,
        joined: ev.AgentJoined,
        pace: Pace | None = None,
        stop_runners: bool = False,
        log_level: LogLevel = "INFO",
    ) -> None:
        self._api = api
        self._pace = pace or Pace()
        self._joined = joined
        self._infrastructure = infrastructure
        self._stop_runners = stop_runners
        self._user_side = user_side
        self._ready = ReadyRuns(self._pace)
        self._follower = Follower(api, joined, self._ready, self, self._pace)
        self._means = Means(
            api=api,
            server_url=server_url,
            agent=joined.agent,
            infrastructure=infrastructure,
            user_side=user_side,
            ready=self._ready,
            pace=self._pace,
            log_level=log_level,
        )
        self._slots = anyio.CapacityLimiter(joined.capacity)
        self._custodies: dict[Custody, None] = {}
        self._key_wanted = anyio.Event()
        self._drain_asked = anyio.Event()
        self._emptied = anyio.Event()
        self._left = anyio.Event()
        self._pass: Pass | None = None

    @property
    def name(self) -> str:
        return self._joined.agent

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or cancelled. `task_status` is told once the server knows the agent.

        Raises what the server refuses the agent itself for; troubles of single runs are in the agent's log.
        """
        try:
            await self._join()
            async with anyio.create_task_group() as tasks:
                for launched in await self._infrastructure.survivors():
                    self._adopt(tasks, launched)
                tasks.start_soon(self._follower.run)
                tasks.start_soon(self._beat)
                tasks.start_soon(self._learn_wanted_keys)
                tasks.start_soon(self._tend)
                tasks.start_soon(self._dispatch, tasks)
                task_status.started()
                await self._drained()
                tasks.cancel_scope.cancel()
        finally:
            await self._farewell()
            self._left.set()

    def drain(self) -> None:
        """Take no more runs; `run` returns when the last of those in custody has ended."""
        self._drain_asked.set()

    async def once(self) -> Pass:
        """Take what is ready, and what becomes ready meanwhile; drain when nothing is left. Returns when `run` has done its last."""
        noted = self._pass = Pass()
        while True:
            await self._ready.until_empty()
            await self._idle()
            await self._follower.look()  # a run that was lost here is ready again
            if self._ready.empty and not self._custodies:
                break
        self.drain()
        await self.left()
        return noted

    async def left(self) -> None:
        """Return when `run` has done its last."""
        await self._left.wait()

    # --- what the follower tells ---------------------------------------------------------------------------------------

    def run_ended(self, run: str) -> None:
        for custody in self._custodies:
            if custody.run == run:
                custody.run_ended()

    def superseded(self, run: str, epoch: int) -> None:
        for custody in self._custodies:
            if custody.run == run and 0 < custody.epoch <= epoch:
                custody.superseded()

    def epochs_held(self) -> Mapping[str, int]:
        held: dict[str, int] = {}
        for custody in self._custodies:
            if custody.epoch:
                held[custody.run] = max(custody.epoch, held.get(custody.run, 0))
        return held

    async def rejoin(self) -> None:
        if not self._drain_asked.is_set():
            _log.warning("the server takes this agent for gone; joining again")
            await self._join()

    def key_wanted(self) -> None:
        self._key_wanted.set()

    # --- its tasks -------------------------------------------------------------------------------------------------------

    async def _dispatch(self, tasks: TaskGroup) -> None:
        """Claim as many runs as there are slots. A slot is free again when its runner is gone, or the claim was another's."""
        while not self._drain_asked.is_set():
            slot = object()
            await self._slots.acquire_on_behalf_of(slot)
            ready = await self._ready.take()
            if self._drain_asked.is_set():
                return
            custody = Custody(self._means, ready.run, known=ready.epoch)
            self._custodies[custody] = None
            tasks.start_soon(self._keep, custody, slot)

    def _adopt(self, tasks: TaskGroup, launched: Launched) -> None:
        """Adopted runners take slots as far as there are any; they are watched in any case."""
        custody = Custody.adopted(self._means, launched)
        self._custodies[custody] = None
        slot: object | None = object()
        try:
            self._slots.acquire_on_behalf_of_nowait(slot)
        except anyio.WouldBlock:
            slot = None
        tasks.start_soon(self._keep, custody, slot)

    async def _keep(self, custody: Custody, slot: object | None) -> None:
        """Not undone by a cancellation: who is in custody then is for `_farewell` to see."""
        if custody.launched is not None:
            await custody.watch(custody.launched)
        else:
            await custody.serve()
        del self._custodies[custody]
        if slot is not None:
            self._slots.release_on_behalf_of(slot)
        if self._pass is not None and not self._pass.note(custody):
            self._ready.never(custody.run)
        self._emptied.set()

    async def _learn_wanted_keys(self) -> None:
        """A run came that was signed with a key that is not here: it may be in the home by now."""
        while True:
            await self._key_wanted.wait()
            self._key_wanted = anyio.Event()
            await self._learn_keys()

    async def _learn_keys(self) -> None:
        """Keys are what an agent shows of itself like its labels, and the one thing of that which changes while it works."""
        if not await to_thread.run_sync(self._user_side.learn_keys):
            return
        self._joined = self._joined.model_copy(update={"key_ids": self._user_side.key_ids})
        _log.info("this home's keys have changed; there are %s now", ", ".join(self._joined.key_ids))
        if not self._drain_asked.is_set():
            await self._join()
            await self._follower.presented_as(self._joined)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(self._pace.beat_seconds)
            await self._learn_keys()
            try:
                await self._api.agent_beat(self.name)
            except (NotFound, Refused) as error:
                if error.code == "draining":  # it was asked for while this agent heard nothing
                    self.drain()
                else:
                    await self.rejoin()
            except PlayheadError as error:
                if not passing(error):
                    raise
                _log.debug("no beat: %s", error.message)

    async def _tend(self) -> None:
        while True:
            await anyio.sleep(self._pace.safety_seconds)
            await self._infrastructure.tend()

    async def _drained(self) -> None:
        await self._drain_asked.wait()
        with suppress(NotFound, Refused):
            await persistently(lambda: self._api.drain(self.name), self._pace)
        await self._idle()
        _log.info("agent %s has drained, and ends", self.name)

    async def _idle(self) -> None:
        while self._custodies:
            self._emptied = anyio.Event()
            await self._emptied.wait()

    async def _join(self) -> None:
        await persistently(lambda: self._api.join(AgentHello(joined=self._joined)), self._pace)

    async def _farewell(self) -> None:
        """Stop the runners if asked to; say goodbye if none is left. Bounded, and not cut short by a cancellation."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stops:
                for custody in tuple(self._custodies):
                    if custody.launched is None:
                        del self._custodies[custody]
                    elif self._stop_runners:
                        stops.start_soon(self._stop, custody, custody.launched)
            if self._custodies:
                _log.info("%d runners go on without this agent", len(self._custodies))
                return
            with anyio.move_on_after(self._pace.farewell_seconds), suppress(PlayheadError):
                await self._api.leave(self.name)

    async def _stop(self, custody: Custody, launched: Launched) -> None:
        await custody.stop(launched)
        del self._custodies[custody]
