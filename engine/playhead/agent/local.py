"""The local agent: runners as processes beside it. Owns the settings of one, and putting its parts together."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import to_thread

from playhead import __version__
from playhead.agent.base import Agent
from playhead.agent.names import held_name
from playhead.agent.pace import Pace
from playhead.agent.processes import RUNNER, ProcessInfrastructure
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
from playhead.zygote.handle import ZYGOTE

KIND: Final = "local"


class LocalAgent:
    """A description; `attach` makes an agent of it. It may be attached again after it has ended.

    * `home`: None: as the settings say. Its keys and its storage are used unless others are given; keys that come into it while the
      agent works are used too.
    * `name`: None: that of an earlier local agent of this home which is not at work, else random words.
    * `labels`: a run is taken if all of its labels are among these. `capacity`: runners at a time; None: one for each CPU.
    * `stop_runners`: end the runners with the agent, within some seconds; else they go on, and its next life adopts them.
    * `rules`: what a run has to fulfil besides being signed (`rules.Allowed`).
    * `import_paths`: where runners look for the modules of flows that were sealed by module; None: the working folder.
    """

    def __init__(
        self,
        *,
        home: Home | Path | None = None,
        name: str | None = None,
        labels: Collection[str] = (),
        capacity: int | None = None,
        storage: Storage | str | Path | None = None,
        keys: KeyRing | None = None,
        stop_runners: bool = False,
        rules: Sequence[Rule] = (),
        import_paths: Sequence[Path] | None = None,
        command: Sequence[str] = RUNNER,
        pace: Pace | None = None,
        log_level: LogLevel = "INFO",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._home = home
        self._name = name
        self._labels = tuple(sorted({check_name("label", label) for label in labels}))
        self._capacity = capacity if capacity is not None else os.cpu_count() or 1
        self._storage = storage
        self._keys = keys
        self._stop_runners = stop_runners
        self._rules = tuple(rules)
        self._import_paths = tuple(import_paths) if import_paths is not None else (Path.cwd(),)
        self._command = tuple(command)
        self._pace = pace
        self._log_level: LogLevel = log_level
        if self._capacity < 1:
            raise UsageError(f"an agent cannot have {self._capacity} runners at a time", hint="give it 1 or more")
        if len(self._labels) > MAX_LABELS:
            raise UsageError(f"an agent cannot have {len(self._labels)} labels", hint=f"{MAX_LABELS} is the most")

    @asynccontextmanager
    async def attach(
        self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
    ) -> AsyncGenerator[Agent, None]:
        """An agent at work for as long as the context lasts. It has joined the server when the context begins.

        `home` and `storage` are taken where the agent was given none of its own.
        `url`: where its runners reach the server that `api` is. UsageError: there is none, the storage cannot be shared with
        processes, or the name is taken. TrustError, StorageError: the home's key or storage cannot be used.
        """
        if url is None:
            raise UsageError(
                "a local agent's runners are processes of their own, and this server listens nowhere",
                hint="serve the engine first: `async with engine.serve(...)`",
            )
        opened, user_side = await to_thread.run_sync(self._open_user_side, home, storage)
        with held_name(opened.path, KIND, self._name) as place:
            processes = ProcessInfrastructure(
                place.folder,
                command=self._command,
                zygote=ZYGOTE if self._command == RUNNER else None,
                import_paths=self._import_paths,
                environment=self._environment,
            )
            agent = Agent(
                api,
                server_url=url,
                infrastructure=processes,
                user_side=user_side,
                joined=self._joined(place.name, user_side),
                pace=self._pace,
                stop_runners=self._stop_runners,
                log_level=self._log_level,
            )
            async with processes.warmed(), background() as tasks:
                await tasks.start(agent.run)
                yield agent

    def _open_user_side(self, engines_home: Path | None, engines_storage: str | None) -> tuple[Home, UserSide]:
        home = self._home or engines_home
        if not isinstance(home, Home):
            flags = {"home": str(home)} if home is not None else None
            home = Home.open(Settings.load(flags, env=self._environment), env=self._environment)
        given = self._storage or engines_storage or home.storage
        storage = open_storage(given) if isinstance(given, str | Path) else given
        if storage.url.startswith("memory:"):
            raise UsageError(
                "storage in memory is this process's alone: a local agent's runners could not open it",
                hint="use a folder as storage",
            )
        return home, UserSide([storage], self._keys or home.key_file, rules=self._rules, encrypt=home.settings.encrypt)

    def _joined(self, name: str, user_side: UserSide) -> AgentJoined:
        return AgentJoined(
            agent=name,
            kind=KIND,
            labels=self._labels,
            capacity=self._capacity,
            storages=user_side.storage_ids,
            key_ids=user_side.key_ids,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            version=__version__,
        )
