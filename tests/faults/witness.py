"""A witness of runs that processes die under: what it saw of the log while they went on, and what must be true of them at their end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playhead.client.client import Client
from playhead.core.replay import replay
from playhead.core.state import RunStatus
from playhead.ports.store import Recorded

LENGTH = 4  # steps of a run


class Witness:
    """Follows the log from the beginning on, across its server's deaths."""

    def __init__(self, client: Client, ledger: Path) -> None:
        self._client = client
        self._ledger = ledger
        self._seen: defaultdict[str, list[Recorded]] = defaultdict(list)

    @classmethod
    @asynccontextmanager
    async def of(cls, client: Client, ledger: Path) -> AsyncGenerator[Witness]:
        witness = cls(client, ledger)
        following = asyncio.create_task(witness._follow())
        try:
            yield witness
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _follow(self) -> None:
        async with self._client.events() as pages:
            async for page in pages:
                for event in page.events:
                    self._seen[event.stream].append(event)

    async def wrong(self, run: str) -> list[str]:
        """What is not as it must be, in words. The run has ended."""
        events = [event async for event in self._client.history(run)]
        state = replay(events)
        assert state is not None
        view = await self._client.run(run)
        wrong = [f"it is {state.status}"] * (state.status is not RunStatus.SUCCEEDED)
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            wrong.append("its versions are not contiguous")
        if lost := [seen for seen in self._seen[f"run.{run}"] if seen not in events]:
            wrong.append(f"acknowledged events are gone: {lost}")
        folded = {key: (task.status, task.attempt) for key, task in state.tasks.items()}
        if folded != {task.key: (task.state, task.attempt) for task in view.tasks} or view.state is not state.status:
            wrong.append("the server shows another state than its events fold to")
        return [*wrong, *self._wrong_epochs(events), *self._repeated(run, events)]

    def _wrong_epochs(self, events: list[Recorded]) -> list[str]:
        reporters = [int(event.actor.removeprefix("runner/")) for event in events if event.actor.startswith("runner/")]
        return ["an epoch wrote after a later one had started"] * (reporters != sorted(reporters))

    def _repeated(self, run: str, events: list[Recorded]) -> list[str]:
        """Held against the ledger, which the engine knows nothing of."""
        epochs: dict[str, int] = {}
        executed: defaultdict[int, list[int]] = defaultdict(list)  # step → epochs that ran it
        for line in self._ledger.read_text().splitlines():
            of, what, number, pid = line.split()
            if of == run and what == "epoch":
                epochs[pid] = int(number)
            elif of == run:
                executed[int(number)].append(epochs[pid])
        outcomes = Counter(event.data["key"] for event in events if event.type == "task.succeeded")
        wrong = [f"{key} has {count} outcomes" for key, count in outcomes.items() if count > 1]
        if sorted(executed) != list(range(LENGTH)):
            wrong.append(f"the steps that ran are {sorted(executed)}")
        for event in events:
            if event.type == "task.succeeded":
                ended = _number(event.data["key"])
                late = [epoch for epoch in executed[ended] if epoch > (event.epoch or 0)]
                if late:
                    wrong.append(f"step {ended} was completed by epoch {event.epoch} and ran again in {late}")
        deaths = max(epochs.values()) - 1
        again = sum(map(len, executed.values())) - LENGTH
        if again > deaths:
            wrong.append(f"{again} executions too many after {deaths} deaths of runners")
        return wrong


def _number(key: str) -> int:
    """`step` is step 0, `step~2` is step 1: a call's number among those of its name."""
    _, _, nth = key.partition("~")
    return int(nth) - 1 if nth else 0
