"""Infrastructures with one bug each, over the local one with real processes; the suite must say which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from anyio import to_thread

from playhead.agent.infrastructure import Exit, Infrastructure, Launched, LostSight
from playhead.agent.processes import ProcessInfrastructure
from playhead.agent.runner_process import ChildProcess
from playhead.runner.bootstrap import RunnerOrder


class Sound(Infrastructure):
    """The local infrastructure, to plant a bug in. Its runners are given out as `wrapped` says."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._command = command
        self._folder = folder
        self._inner = ProcessInfrastructure(folder, command=command)

    @property
    def kind(self) -> str:
        return "planted"

    async def launch(self, order: RunnerOrder) -> Launched:
        return self.wrapped(await self._inner.launch(order))

    async def survivors(self) -> Sequence[Launched]:
        return [self.wrapped(launched) for launched in await self._inner.survivors()]

    async def tend(self) -> None:
        await self._inner.tend()

    def wrapped(self, launched: Launched) -> Launched:
        return launched


class Runner(Launched):
    """A runner of the local infrastructure, to plant a bug in."""

    def __init__(self, inner: Launched) -> None:
        self._inner = inner

    @property
    def run(self) -> str:
        return self._inner.run

    @property
    def epoch(self) -> int:
        return self._inner.epoch

    @property
    def output(self) -> str:
        return self._inner.output

    async def wait(self) -> Exit | LostSight:
        return await self._inner.wait()

    async def terminate(self) -> None:
        await self._inner.terminate()

    async def kill(self) -> None:
        await self._inner.kill()

    async def forget(self, *, keep_output: bool) -> None:
        await self._inner.forget(keep_output=keep_output)


class LaunchesTwice(Sound):
    """Each launch has a folder of its own, and so finds nothing to adopt. Its survivors are those of all of them."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        super().__init__(folder, command)
        self._all = [self._of(number) for number in range(len(list(folder.iterdir())))]

    async def launch(self, order: RunnerOrder) -> Launched:
        self._all.append(self._of(len(self._all)))
        return await self._all[-1].launch(order)

    async def survivors(self) -> Sequence[Launched]:
        return [launched for each in self._all for launched in await each.survivors()]

    def _of(self, number: int) -> ProcessInfrastructure:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        return ProcessInfrastructure(folder, command=self._command)


class ConfusesEpochs(Sound):
    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        super().__init__(folder, command)
        self._by_run: dict[str, Launched] = {}

    async def launch(self, order: RunnerOrder) -> Launched:
        if order.run not in self._by_run:
            self._by_run[order.run] = await self._inner.launch(order)
        return self._by_run[order.run]


class ChangesOrders(Sound):
    async def launch(self, order: RunnerOrder) -> Launched:
        return await self._inner.launch(order.model_copy(update={"run_key": order.flow_key}))


class ForgetsSurvivors(Sound):
    async def survivors(self) -> Sequence[Launched]:
        return []


class TendsToDeath(Sound):
    async def tend(self) -> None:
        for launched in await self._inner.survivors():
            await launched.kill()


class _TellsAnEndThatWasNot(Runner):
    async def wait(self) -> Exit | LostSight:
        return Exit(exit_code=5)


class TellsAnEndThatWasNot(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _TellsAnEndThatWasNot(launched)


class _SaysThatAllIsWell(Runner):
    async def wait(self) -> Exit | LostSight:
        await super().wait()
        return Exit(exit_code=0)


class SaysThatAllIsWell(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _SaysThatAllIsWell(launched)


class _ChangesItsMind(Runner):
    told = False

    async def wait(self) -> Exit | LostSight:
        end = await super().wait()
        self.told, again = True, self.told
        return Exit() if again else end


class ChangesItsMind(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _ChangesItsMind(launched)


class _LooksAtTheLeaderAlone(Runner):
    async def wait(self) -> Exit | LostSight:
        assert isinstance(self._inner, ChildProcess)
        seen = await to_thread.run_sync(os.waitid, os.P_PID, self._inner.pid, os.WEXITED | os.WNOWAIT)
        assert seen is not None, "it was waited for"
        return Exit(exit_code=seen.si_status)


class LeavesWhatARunnerStarted(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _LooksAtTheLeaderAlone(launched)


class _EndsWithItsWaiter(Runner):
    async def wait(self) -> Exit | LostSight:
        ended = False
        try:
            end = await super().wait()
            ended = True
            return end
        finally:
            if not ended:
                await self.kill()


class EndsRunnersWithTheirWaiter(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _EndsWithItsWaiter(launched)


class _NeverAsks(Runner):
    async def terminate(self) -> None:
        await self.kill()


class NeverAsks(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _NeverAsks(launched)


class _CountsKills(Runner):
    killed = False

    async def kill(self) -> None:
        self.killed = True
        await super().kill()

    async def wait(self) -> Exit | LostSight:
        end = await super().wait()
        return Exit(signal=9) if self.killed else end


class TellsTheKillOfOneThatHadEnded(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _CountsKills(launched)


class _Remembers(Runner):
    async def forget(self, *, keep_output: bool) -> None:
        """Not now."""


class RemembersTheForgotten(Sound):
    def wrapped(self, launched: Launched) -> Launched:
        return _Remembers(launched)


class LosesSightOfSurvivors(Sound):
    """It cannot reach what it did not launch in this life."""

    async def survivors(self) -> Sequence[Launched]:
        return [_OutOfReach(found) for found in await self._inner.survivors()]


class _OutOfReach(Runner):
    async def wait(self) -> Exit | LostSight:
        return LostSight("launched by another life")
