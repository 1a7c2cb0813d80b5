"""The local agent: runners as processes beside it. Owns the settings of one, and putting its parts together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playhead.agent.base import Agent
from playhead.agent.description import AgentDescription
from playhead.agent.names import held_name
from playhead.agent.pace import Pace
from playhead.agent.processes import RUNNER, ProcessInfrastructure
from playhead.agent.rules import Rule
from playhead.errors import UsageError
from playhead.home import Home
from playhead.ports.server import ServerApi
from playhead.ports.storage import Storage
from playhead.runner.bootstrap import LogLevel
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
        self._described = AgentDescription(
            KIND,
            home=home,
            name=name,
            labels=labels,
            capacity=capacity,
            storage=storage,
            keys=keys,
            stop_runners=stop_runners,
            rules=rules,
            pace=pace,
            log_level=log_level,
            environment=environment,
        )
        self._import_paths = tuple(import_paths) if import_paths is not None else (Path.cwd(),)
        self._command = tuple(command)

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
        described = self._described
        opened, user_side = await described.open_user_side(home, storage)
        with held_name(opened.path, KIND, described.name) as place:
            processes = ProcessInfrastructure(
                place.folder,
                command=self._command,
                zygote=ZYGOTE if self._command == RUNNER else None,
                import_paths=self._import_paths,
                environment=described.environment,
            )
            async with processes.warmed(), described.at_work(api, url, processes, user_side, place.name) as agent:
                yield agent
