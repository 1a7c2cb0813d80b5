"""What descriptions of agents have in common, whatever their infrastructure: the settings of one, its user's side, how it presents itself.

Owns no infrastructure and starts nothing: `local`, and the adapters beside it, put an agent together with this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from playhead import __version__
from playhead.agent.base import Agent
from playhead.agent.infrastructure import Infrastructure
from playhead.agent.pace import Pace
from playhead.agent.rules import Rule
from playhead.agent.user_side import UserSide
from playhead.background import background
from playhead.core.events import MAX_LABELS, AgentJoined
from playhead.core.names import check_name
from playhead.errors import UsageError
from playhead.home import Home
from playhead.ports.server import ServerApi
from playhead.ports.storage import Storage
from playhead.runner.bootstrap import LogLevel
from playhead.settings import Settings
from playhead.storage import open_storage
from playhead.trust.keys import KeyRing


class AgentDescription:
    """Settings that every agent has; what they mean is told at `LocalAgent`. `capacity` None: one runner for each CPU here.

    UsageError: a label is no name, or a number is out of bounds.
    """

    def __init__(
        self,
        kind: str,
        *,
        home: Home | Path | None = None,
        name: str | None = None,
        labels: Collection[str] = (),
        capacity: int | None = None,
        storage: Storage | str | Path | None = None,
        keys: KeyRing | None = None,
        stop_runners: bool = False,
        rules: Sequence[Rule] = (),
        pace: Pace | None = None,
        log_level: LogLevel = "INFO",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.environment = dict(os.environ if environment is None else environment)
        self._home = home
        self._labels = tuple(sorted({check_name("label", label) for label in labels}))
        self._capacity = capacity if capacity is not None else os.cpu_count() or 1
        self._storage = storage
        self._keys = keys
        self._stop_runners = stop_runners
        self._rules = tuple(rules)
        self._pace = pace
        self._log_level: LogLevel = log_level
        if self._capacity < 1:
            raise UsageError(f"an agent cannot have {self._capacity} runners at a time", hint="give it 1 or more")
        if len(self._labels) > MAX_LABELS:
            raise UsageError(f"an agent cannot have {len(self._labels)} labels", hint=f"{MAX_LABELS} is the most")

    async def open_user_side(self, engines_home: Path | None, engines_storage: str | None) -> tuple[Home, UserSide]:
        """Home and user's side, those of an engine where the agent was given none of its own.

        UsageError: the storage cannot be shared with runners. TrustError, StorageError: the home's key or storage cannot be used.
        """
        return await to_thread.run_sync(self._open_user_side, engines_home, engines_storage)

    @asynccontextmanager
    async def at_work(
        self,
        api: ServerApi,
        url: str,
        infrastructure: Infrastructure,
        user_side: UserSide,
        name: str,
        *,
        python: str | None = None,
        universal: bool = True,
    ) -> AsyncGenerator[Agent]:
        """The agent, as long as the context lasts; it has joined when the context begins.

        `python`: the minor version of its runners' interpreter; None: this one's. `universal`: runs that name no infrastructure are taken.
        """
        joined = AgentJoined(
            agent=name,
            kind=self.kind,
            labels=self._labels,
            capacity=self._capacity,
            storages=user_side.storage_ids,
            key_ids=user_side.key_ids,
            python=python or f"{sys.version_info.major}.{sys.version_info.minor}",
            version=__version__,
            universal=universal,
        )
        agent = Agent(
            api,
            server_url=url,
            infrastructure=infrastructure,
            user_side=user_side,
            joined=joined,
            pace=self._pace,
            stop_runners=self._stop_runners,
            log_level=self._log_level,
        )
        async with background() as tasks:
            await tasks.start(agent.run)
            yield agent

    def _open_user_side(self, engines_home: Path | None, engines_storage: str | None) -> tuple[Home, UserSide]:
        home = self._home or engines_home
        if not isinstance(home, Home):
            flags = {"home": str(home)} if home is not None else None
            home = Home.open(Settings.load(flags, env=self.environment), env=self.environment)
        given = self._storage or engines_storage or home.storage
        storage = open_storage(given) if isinstance(given, str | Path) else given
        if storage.url.startswith("memory:"):
            raise UsageError(
                f"storage in memory is this process's alone: a {self.kind} agent's runners could not open it",
                hint="use a folder as storage",
            )
        return home, UserSide([storage], self._keys or home.key_file, rules=self._rules, encrypt=home.settings.encrypt)
