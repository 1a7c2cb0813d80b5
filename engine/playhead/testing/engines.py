"""A whole engine for a test: log in memory or in a given store, storage in a folder of the test's, a local agent that ends its runners
with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playhead.agent.local import LocalAgent
from playhead.engine import Engine
from playhead.ports.store import StoreBackend


@asynccontextmanager
async def memory_engine(
    home: Path, *, agent: bool = True, store: str | StoreBackend = "memory:"
) -> AsyncGenerator[Engine]:
    """`async with memory_engine(tmp_path) as engine: run = await my_flow.start(client=engine.client)`.

    `home` holds key and storage, and what the agent keeps of its runners. `agent` False: nothing takes the runs.
    `store`: in place of a log in memory, any other by its URL, or an open backend, which the engine closes.
    """
    local = LocalAgent(home=home, stop_runners=True) if agent else None
    async with Engine(store, home=home, agent=local) as engine:
        yield engine
