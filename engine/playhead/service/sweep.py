"""The sweep: takes back what was not heard of in time, for ever and not only at the start (L1, L2, L9). Owns the rounds.

What is over is the leases' judgement. Where several servers are on one log each of them listens, and one sweeps: it judges by what
was handed on and what was in the log when the round began.
"""

from __future__ import annotations

from playhead.core import events as ev
from playhead.core.decide import Lose
from playhead.errors import Refused
from playhead.ports.clock import Clock
from playhead.ports.store import EventStore
from playhead.service.agents import Agents
from playhead.service.commands import RunCommands
from playhead.service.leadership import Leadership
from playhead.service.leases import Ended, Leases
from playhead.service.read_models import ReadModels
from playhead.service.settings import ServiceSettings
from playhead.service.signs import Signs


class Sweep:
    def __init__(
        self,
        store: EventStore,
        models: ReadModels,
        commands: RunCommands,
        clock: Clock,
        settings: ServiceSettings,
        *,
        leases: Leases,
        agents: Agents,
        signs: Signs,
        leadership: Leadership,
    ) -> None:
        self._store = store
        self._models = models
        self._commands = commands
        self._clock = clock
        self._settings = settings
        self._leases = leases
        self._agents = agents
        self._signs = signs
        self._leadership = leadership

    async def run(self) -> None:
        """Rounds, one each interval. Ends never; raises the log's errors."""
        while True:
            await self._clock.sleep(self._settings.sweep_seconds)
            await self._round()

    async def _round(self) -> None:
        began = self._clock.monotonic()
        if self._store.shared is not None:
            await self._listen()
        if not self._leadership.leads:
            return
        for ended in self._leases.ended(began):
            # What was before it took its time: this server may lead no more, and whom it waited for may have been heard of.
            if self._leases.is_over(ended, began) and self._leadership.leads:
                await self._take_back(ended)

    async def _listen(self) -> None:
        """Take in what others have heard up to now, by their signs and in the log."""
        heard = await self._signs.read()
        for agent in heard.agents:
            self._agents.heard_of(agent)
        for run, epoch in heard.runners:
            self._leases.heard(run, epoch)
        if self._leadership.leads:
            try:
                await self._models.wait_for(await self._store.head(), self._settings.takeover_seconds)
            except Refused:  # its disk may be full, and the others' not: as long as it led nothing would be taken back
                await self._leadership.hand_over()

    async def _take_back(self, ended: Ended) -> None:
        command = Lose(epoch=ended.epoch, reason=ev.LossReason.LEASE_EXPIRED, now=self._clock.now())
        done = await self._commands.carry_out(ended.run, command, append_id=f"lose.{ended.epoch}", actor="server")
        self._leases.observe(done.state)
