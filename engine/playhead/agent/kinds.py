"""Kinds of agents: classes that describe one, found by entry points. Owns what such a class is held to; knows none but by name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from playhead.agent.base import Agent
from playhead.errors import UsageError
from playhead.installed import Group
from playhead.ports.server import ServerApi

KINDS: Final = Group(
    "playhead.agents",
    noun="agent",
    built_in={"local": "playhead.agent.local:LocalAgent"},
    extras=frozenset({"docker"}),
)


class AgentKind(Protocol):
    """What an entry point makes: a description of an agent, to be attached to a server.

    It is called with `home`, `name`, `labels`, `capacity`, `rules`, `storage` and `stop_runners`, which mean what they do at `LocalAgent`,
    and with settings of its own.
    """

    def attach(
        self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
    ) -> AbstractAsyncContextManager[Agent]: ...


def agent_of_kind(kind: str, **settings: Any) -> AgentKind:
    """The agent of that kind. UsageError: none is installed, what it needs is not, or it does not take these settings."""
    make: Any = KINDS.load(kind)
    try:
        described: AgentKind = make(**settings)
    except (
        TypeError,
        ValueError,
    ) as error:  # what foreign code says to a setting that it does not have, or to its value
        raise UsageError(
            f"the agent of kind {kind!r} cannot be made of these settings: {error}",
            hint=f"it is {make.__module__}:{make.__qualname__}; its documentation says what it takes beside what every agent does",
        ) from error
    if not hasattr(described, "attach"):
        raise UsageError(
            f"the agent of kind {kind!r} is made as a {type(described).__name__}, which has no attach",
            hint="what its entry point names must make an AgentKind (playhead.agent.kinds)",
        )
    return described
