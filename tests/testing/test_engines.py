"""The in-memory engine for users' tests runs a flow the whole way: client, agent, runner process, executor."""

from __future__ import annotations

from pathlib import Path

from playhead import Engine, LocalAgent
from playhead.client.loading import load_target
from playhead.log.memory import MemoryBackend, MemoryRecords
from playhead.testing.engines import memory_engine
from tests.server.scripted import REGISTERED

HELLO = Path(__file__).parents[2] / "docs" / "examples" / "hello.py"


async def test_a_flow_runs_the_whole_way_in_an_engine_for_tests(tmp_path: Path) -> None:
    hello = load_target(f"{HELLO}:hello")
    async with memory_engine(tmp_path) as engine:
        run = await hello.start(client=engine.client, parameters={"name": "test"})
        assert await run.result() == "Hello, test!"
        assert (await run.wait()).state == "succeeded"


async def test_it_takes_any_store(tmp_path: Path) -> None:
    records = MemoryRecords()
    async with memory_engine(tmp_path, agent=False, store=MemoryBackend(records)) as engine:
        await engine.api.register_flow(REGISTERED)
    assert [event.type for event in records.events] == ["flow.registered"]
    async with memory_engine(tmp_path, agent=False, store=f"sqlite:///{tmp_path}/test.db") as engine:
        assert not await engine.client.flows(), "another log than before: what is known of that one does not count"


async def test_an_agent_that_was_given_no_home_takes_its_engines(tmp_path: Path) -> None:
    hello = load_target(f"{HELLO}:hello")
    agent = LocalAgent(stop_runners=True)
    async with Engine("memory:", home=tmp_path / "home", storage=str(tmp_path / "storage"), agent=agent) as engine:
        run = await hello.start(client=engine.client)
        assert await run.result() == "Hello, world!"
