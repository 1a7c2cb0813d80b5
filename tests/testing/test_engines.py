"""The in-memory engine for users' tests runs a flow the whole way: client, agent, runner process, executor."""

from __future__ import annotations

from pathlib import Path

from playhead.client.loading import load_target
from playhead.testing.engines import memory_engine

HELLO = Path(__file__).parents[2] / "docs" / "examples" / "hello.py"


async def test_a_flow_runs_the_whole_way_in_an_engine_for_tests(tmp_path: Path) -> None:
    hello = load_target(f"{HELLO}:hello")
    async with memory_engine(tmp_path) as engine:
        run = await hello.start(client=engine.client, parameters={"name": "test"})
        assert await run.result() == "Hello, test!"
        assert (await run.wait()).state == "succeeded"
