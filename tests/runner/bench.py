"""A bench for the runner: a real service in a thread, storage in memory, and runs whose epochs a test plays one by one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, RunId
from playhead.core.views import RunView
from playhead.flows.flow import Flow
from playhead.log import Log
from playhead.log.memory import MemoryBackend
from playhead.ports.server import AgentHello, ClaimRequest, RunRequest, ServerApi, StartRequest
from playhead.ports.storage import Storage
from playhead.ports.store import Recorded
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution, Grant
from playhead.runner.loopthread import LoopThread, collected
from playhead.runner.outcome import Outcome
from playhead.runner.recall import predecessors
from playhead.service.service import Service
from playhead.storage.memory import MemoryStorage
from playhead.trust.keys import MasterKey

STORAGE_HINT = "memory"


class Bench:
    """One service, one storage, one key."""

    def __init__(self, api: ServerApi, link: LoopThread, storage: Storage) -> None:
        self.api = api
        self.link = link
        self.storage = storage
        self.key = MasterKey.random()
        self.agent = "bench"

    def ask(self, subject: Flow[..., Any]) -> RunId:
        """Register the flow's facts, and ask for a run."""
        seal = token_hex(16)
        registered = ev.FlowRegistered(
            flow=subject.name, seal=seal, sealed_by=ev.SealedBy.MODULE, executor=subject.executor.kind,
            run_config=subject.run_config.kind, storage=self.storage.id, key_id=self.key.id,
        )  # fmt: skip
        run = RunId(token_hex(16))
        self.link.call(self.api.register_flow(registered))
        self.link.call(self.api.ask_run(RunRequest(run=run, flow=subject.name, seal=seal)))
        return run

    def grant(self, run: RunId) -> Grant:
        """Claim the run for the next epoch."""
        claimed = self.link.call(self.api.claim(run, ClaimRequest(agent=self.agent, claim=token_hex(8))))
        return Grant(
            run=run, flow=claimed.flow, epoch=Epoch(claimed.epoch), grant=claimed.grant,
            scheduled_for=claimed.scheduled_for, key=self.key.run_key(run), storage=self.storage,
        )  # fmt: skip

    def execution(
        self, grant: Grant, api: ServerApi | None = None
    ) -> Callable[[Flow[..., Any], dict[str, Any]], Outcome]:
        """Start the granted epoch; the result runs the flow."""
        api = api or self.api
        earlier = predecessors(grant.run, self.history(grant.run), grant.epoch)
        sent_at = boot_time()
        request = StartRequest(
            epoch=grant.epoch, grant=grant.grant, storage=grant.storage.id, python="3.11", key_scheme=KEY_SCHEME
        )
        started = self.link.call(api.start(grant.run, request))
        execution = Execution(grant, api, self.link, started, sent_at)
        return lambda subject, parameters: execution.execute(lambda: (subject, parameters), earlier)

    def run(self, subject: Flow[..., Any], **parameters: Any) -> tuple[RunId, Outcome]:
        """Ask for a run and play its one epoch."""
        run = self.ask(subject)
        return run, self.execution(self.grant(run))(subject, parameters)

    def lose(self, run: RunId, epoch: int) -> None:
        """The agent has proof that the runner of this epoch is dead."""
        from playhead.ports.server import DiedRequest

        self.link.call(self.api.died(run, DiedRequest(epoch=epoch, signal=9)))

    def history(self, run: RunId) -> list[Recorded]:
        return self.link.call(collected(self.api.history(run)))

    def types(self, run: RunId) -> list[str]:
        return [recorded.type for recorded in self.history(run)]

    def view(self, run: RunId) -> RunView:
        return self.link.call(self.api.run(run))


@contextmanager
def open_bench(storage: Storage | None = None) -> Generator[Bench]:
    with (
        LoopThread("bench-link") as link,
        link.entered(Log.open(MemoryBackend())) as log,
        link.entered(Service(log)) as service,
    ):
        bench = Bench(service, link, storage or MemoryStorage())
        joined = ev.AgentJoined(
            agent=bench.agent, kind="local", capacity=100, storages=(bench.storage.id,), key_ids=(bench.key.id,),
            python="3.11", version="0",
        )  # fmt: skip
        link.call(service.join(AgentHello(joined=joined)))
        yield bench
