"""What an agent takes beyond what is signed: its lists, asked with the opened seal, and what becomes of a run that is refused."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import anyio
import pytest

from playhead.agent.base import Agent
from playhead.agent.rules import Allowed
from playhead.agent.user_side import UserSide
from playhead.core import events as ev
from playhead.core.state import RunStatus
from playhead.errors import TrustError
from playhead.ports.server import Claimed, ClaimRequest, ServerApi
from playhead.trust.seal import Code, FileCode, ModuleCode, Seal, ValueCode, write_seal
from playhead.trust.ticket import MAX_EARLY_SECONDS, AskedTicket, PresetTicket, ScheduleTicket, check_time
from tests.agent.world import FLOW, PACE, URL, Machine, World, a_world, at_work

MODULE = ModuleCode(module="mycompany.reports", qualname="daily")
FILE = FileCode(source=b"", stem="daily", qualname="daily")
VALUE = ValueCode(pickled=b"", python="3.11")


def seal_of(code: Code, flow: str = "report_daily", **run_config: Any) -> Seal:
    return Seal(flow=flow, code=code, executor={}, run_config=run_config)


@pytest.mark.parametrize(
    ("allowed", "taken", "refused"),
    [
        (Allowed(), [MODULE, FILE, VALUE], []),
        (Allowed(flows=["report*"]), [MODULE, FILE, VALUE], []),
        (Allowed(flows=["other", "report"]), [], [MODULE, FILE, VALUE]),
        (Allowed(code=[ev.SealedBy.MODULE]), [MODULE], [FILE, VALUE]),
        (Allowed(modules=["mycompany.*"]), [MODULE], [FILE, VALUE]),
        (Allowed(modules=["mycompany"]), [], [MODULE, FILE, VALUE]),
        (Allowed(modules=["mycompany.*"], code=[ev.SealedBy.MODULE, ev.SealedBy.FILE]), [MODULE, FILE], [VALUE]),
        (Allowed(flows=["report_?aily"], modules=["*.reports"]), [MODULE], [FILE]),
    ],
)
def test_the_lists_mean_what_they_say(allowed: Allowed, taken: list[Code], refused: list[Code]) -> None:
    assert [allowed(seal_of(code)) for code in taken] == [None] * len(taken)
    for code in refused:
        why_not = allowed(seal_of(code))
        assert why_not is not None
        assert "report_daily" in why_not or code.kind in why_not or "mycompany.reports" in why_not


def agent_with(
    world: World, machine: Machine, *rules: Any, name: str = "choosy", api: ServerApi | None = None
) -> Agent:
    side = UserSide([world.storage], world.keys, rules=rules)
    joined = ev.AgentJoined(
        agent=name, kind="local", capacity=4, storages=side.storage_ids, key_ids=side.key_ids, python="3.11", version="0",
    )  # fmt: skip
    return Agent(api or world.api, server_url=URL, infrastructure=machine, user_side=side, joined=joined, pace=PACE)


async def sealed(world: World, seal: Seal) -> str:
    """Register the flow with this seal, and ask for a run of it."""
    seal_id = write_seal(world.storage, seal, world.keys.flow_key(seal.flow))
    registered = ev.FlowRegistered(
        flow=seal.flow, seal=seal_id, sealed_by=ev.SealedBy.MODULE, executor="thread", run_config="universal",
        storage=world.storage.id, key_id=world.keys.current.id,
    )  # fmt: skip
    await world.api.register_flow(registered)
    return await world.ask(flow=seal.flow, seal=seal_id)


async def test_a_refused_run_goes_back_with_a_reason_that_names_nothing_else_and_waits_for_another_agent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    ours, theirs = Machine(), Machine()
    async with a_world() as world:
        async with at_work(agent_with(world, ours, Allowed(modules=["mycompany.*"]))):
            # What the server says is that its code is by module: the lists are compared with the seal.
            run = await sealed(world, seal_of(FILE, FLOW))
            await world.until(run, lambda view: view.state is RunStatus.READY and view.attempt == 1)
            released = await world.event(run, "run.released")
            assert released.data == {"epoch": 1, "reason": "not_allowed"}
            honest = await sealed(world, seal_of(MODULE, "mine"))
            with anyio.fail_after(30):
                assert (await ours.launched(1)).run == honest
            assert [event for event in await world.story(run) if event == "run.claimed"] == ["run.claimed"]
            assert "sealed by file" in caplog.text
        async with at_work(agent_with(world, theirs, name="generous")):
            with anyio.fail_after(30):
                assert (await theirs.launched(1)).run == run


async def test_a_rule_sees_the_opened_run_config_of_later_kinds_of_agents() -> None:
    def images(seal: Seal) -> str | None:
        image = seal.run_config.get("image")
        return None if image == "etl:1" else f"its image is {image}"

    machine = Machine()
    async with a_world() as world, at_work(agent_with(world, machine, images)):
        evil = await sealed(world, seal_of(MODULE, "evil", kind="docker", image="evil:1"))
        good = await sealed(world, seal_of(MODULE, "good", kind="docker", image="etl:1"))
        with anyio.fail_after(30):
            assert (await machine.launched(1)).run == good
        await world.until(evil, lambda view: view.state is RunStatus.READY and view.attempt == 1)


LIES: list[dict[str, Any]] = [
    {"flow": "other"}, {"seal": "0bad" * 8}, {"labels": ("gpu",)}, {"schedule_id": "0bad" * 4}, {"preset_id": "0bad" * 4},
    {"nonce": "0bad" * 4}, {"origin": ev.Origin.SCHEDULE}, {"origin": ev.Origin.PRESET}, {"origin": ev.Origin.EMBEDDED},
    {"storage": "0bad" * 8}, {"key_id": "0bad" * 4}, {"executor": "no name"}, {"grant": "../../etc"}, {"epoch": 0},
    {"run": "0bad" * 8},
]  # fmt: skip


async def test_a_server_that_lies_in_any_field_of_a_claim_has_nothing_launched() -> None:
    machine = Machine()
    told: dict[str, dict[str, Any]] = {}
    lied: set[str] = set()

    class Lying:
        def __init__(self, world: World) -> None:
            self._world = world

        def __getattr__(self, name: str) -> Any:
            return getattr(self._world.api, name)

        async def claim(self, run: str, request: ClaimRequest) -> Claimed:
            claimed = await self._world.api.claim(run, request)
            lied.add(run)
            return claimed.model_copy(update=told.get(run, {}))

    async with a_world() as world:
        told.update({await world.ask(): lie for lie in LIES})
        async with at_work(agent_with(world, machine, api=cast("ServerApi", Lying(world)))):
            for run, lie in told.items():
                if lie.keys() & {"run", "epoch"}:  # of another run, or of an older epoch, nothing can be handed back
                    await world.until(run, lambda view: view.state is not RunStatus.READY)
                else:
                    await world.until(run, lambda view: view.state is RunStatus.READY and view.attempt > 0)
            honest = await world.ask()
            with anyio.fail_after(30):
                assert (await machine.launched(1)).run == honest
    assert lied == {*told, honest}


def test_a_run_is_not_begun_long_before_its_time() -> None:
    now = time.time_ns() // 1000
    early = now + (MAX_EARLY_SECONDS + 60) * 1_000_000
    asked = AskedTicket(run="ab" * 16, flow=FLOW, seal="ab" * 8, parameters=b"", not_before=early)
    schedule = ScheduleTicket(schedule="ab" * 8, flow=FLOW, seal="ab" * 8, parameters=b"")
    preset = PresetTicket(preset="ab" * 8, name="nightly", flow=FLOW, seal="ab" * 8, parameters=b"")
    for ticket in (asked, schedule):
        with pytest.raises(TrustError, match="before its time"):
            check_time(ticket, due_micros=early, now_micros=now)
        check_time(ticket, due_micros=early, now_micros=early - MAX_EARLY_SECONDS * 1_000_000)
    check_time(preset, due_micros=early, now_micros=now)  # the time is the asker's, and nobody has signed it
