"""A whole engine for a test: log in memory, storage in a folder of the test's, a local agent that ends its runners with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playhead.agent.local import LocalAgent
from playhead.engine import Engine


@asynccontextmanager
async def memory_engine(home: Path, *, agent: bool = True) -> AsyncGenerator[Engine]:
    """`async with memory_engine(tmp_path) as engine: run = await my_flow.start(client=engine.client)`.

    `home` holds key and storage, and what the agent keeps of its runners. `agent` False: nothing takes the runs.
    """
    local = LocalAgent(home=home, stop_runners=True) if agent else None
    async with Engine("memory:", home=home, agent=local) as engine:
        yield engine
