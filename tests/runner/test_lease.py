"""A lease that was over before the flow began: nothing starts until the server has renewed it (L4)."""

from __future__ import annotations

from typing import Any

from playhead import flow, task
from playhead.core.decide import KEY_SCHEME
from playhead.core.state import RunStatus
from playhead.ports.server import Beat, HeartbeatRequest, ServerApi, StartRequest
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution
from tests.runner.bench import open_bench

happened: list[str] = []


@task
def step() -> int:
    happened.append("step")
    return 1


@flow
def one_step() -> int:
    happened.append("flow")
    return step()


class Renewing:
    """A server that tells when it renews a lease."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def heartbeat(self, run: str, request: HeartbeatRequest) -> Beat:
        happened.append("renewed")
        return await self._api.heartbeat(run, request)


def test_a_lease_that_ended_while_its_grant_was_on_the_way_starts_nothing_until_it_is_renewed() -> None:
    happened.clear()
    with open_bench() as bench:
        grant = bench.grant(bench.ask(one_step))
        request = StartRequest(
            epoch=grant.epoch, grant=grant.grant, storage=grant.storage.id, python="3.11", key_scheme=KEY_SCHEME
        )
        started = bench.link.call(bench.api.start(grant.run, request))
        api: Any = Renewing(bench.api)
        long_ago = boot_time() - started.lease_seconds
        outcome = Execution(grant, api, bench.link, started, long_ago).execute(lambda: (one_step, {}), [])
    assert outcome.status is RunStatus.SUCCEEDED
    assert happened.index("renewed") < happened.index("step")
