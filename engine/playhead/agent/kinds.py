"""Kinds of agents: each a class that describes one, found by its entry point. Owns the group's name; knows no kind by itself."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

from playhead.agent.base import Agent
from playhead.errors import UsageError
from playhead.ports.server import ServerApi

ENTRY_POINTS: Final = "playhead.agents"


class AgentKind(Protocol):
    """What an entry point makes: a description of an agent, to be attached to a server."""

    def attach(
        self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
    ) -> AbstractAsyncContextManager[Agent]: ...


def agent_of_kind(kind: str, **settings: Any) -> AgentKind:
    """The agent of that kind. UsageError: none is installed, or what it needs is not."""
    found = next(iter(entry_points(group=ENTRY_POINTS, name=kind)), None)
    if found is None:
        known = ", ".join(sorted(entry_points(group=ENTRY_POINTS).names)) or "none"
        raise UsageError(f"no agent of the kind {kind!r} is installed", hint=f"installed: {known}")
    try:
        make: Any = found.load()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"a {kind} agent needs the package {error.name}", hint=f"pip install 'playhead[{kind}]'"
        ) from error
    described: AgentKind = make(**settings)
    return described
