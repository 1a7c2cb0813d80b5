"""The Docker agent: runners as containers. Owns the settings of one, and putting its parts together."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from playhead.agent.base import Agent
from playhead.agent.description import AgentDescription
from playhead.agent.names import held_name
from playhead.agent.pace import Pace
from playhead.agent.rules import Rule
from playhead.errors import UsageError
from playhead.flows.mounts import Mount
from playhead.flows.run_config import PullPolicy
from playhead.home import Home
from playhead.ports.server import ServerApi
from playhead.ports.storage import Storage
from playhead.runner.bootstrap import LogLevel
from playhead.trust.keys import KeyRing
from playhead_adapters.infrastructure.docker.allowed import DockerAllowed
from playhead_adapters.infrastructure.docker.blueprint import Ground
from playhead_adapters.infrastructure.docker.daemon import Daemon
from playhead_adapters.infrastructure.docker.infrastructure import KIND, DockerInfrastructure


class DockerAgent:
    """A description; `attach` makes an agent of it. What it shares with a `LocalAgent` means what it means there.

    * `docker_host`: URL of the engine; None: as DOCKER_HOST says, else this machine's. The storage must be a folder that the engine's
      host has under the same path.
    * `default_image`: for flows that name none; without it they are not taken. `pull`: whether an image is fetched, where a flow
      does not say. `registry_credentials`: a file as `docker login` writes it, for its owner alone.
    * `allow_images`, `allow_mounts`, `allow_networks`: what flows may ask for (`allowed.DockerAllowed`).
    * `network`, `mounts`, `env`: what every container gets; `runner_server`: where containers find the server, if not under its URL here.
    * `python`: the minor version of Python in the images, "3.11"; None: this one's. `user`: `UID:GID` of processes in containers; None:
      this process's own, so that agent and runners can read each other's files.
    * `auto_remove`: remove containers once their end was reported. What they wrote is in storage by then.
    """

    def __init__(
        self,
        *,
        docker_host: str | None = None,
        default_image: str | None = None,
        pull: PullPolicy = "missing",
        registry_credentials: Path | None = None,
        allow_images: Collection[str] = (),
        allow_mounts: Collection[str] = (),
        allow_networks: Collection[str] = (),
        network: str | None = None,
        mounts: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        runner_server: str | None = None,
        python: str | None = None,
        user: tuple[int, int] | None = None,
        auto_remove: bool = True,
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
        allowed = DockerAllowed(
            default_image=default_image, images=allow_images, mounts=allow_mounts, networks=allow_networks
        )
        self._described = AgentDescription(
            KIND,
            home=home,
            name=name,
            labels=labels,
            capacity=capacity,
            storage=storage,
            keys=keys,
            stop_runners=stop_runners,
            rules=(*rules, allowed),
            pace=pace,
            log_level=log_level,
            environment=environment,
        )
        self._docker_host = docker_host
        self._credentials = registry_credentials
        self._runner_server = runner_server
        self._auto_remove = auto_remove
        self._python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
        self._ground = Ground(
            default_image=default_image,
            pull=pull,
            network=network,
            mounts=tuple(Mount.parse(text) for text in mounts),
            env=dict(env or {}),
            python=self._python,
            owner=user or (os.getuid(), os.getgid()),
        )

    @asynccontextmanager
    async def attach(
        self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
    ) -> AsyncGenerator[Agent, None]:
        """An agent at work for as long as the context lasts. It has joined the server when the context begins.

        `home` and `storage` are taken where the agent was given none of its own. `url`: where the server that `api` is listens.
        UsageError: it listens nowhere, no Docker engine answers, or the name is taken. TrustError, StorageError: the home's key or
        storage cannot be used.
        """
        url = self._runner_server or url
        if url is None:
            raise UsageError(
                "a Docker agent's runners are in containers, and this server listens nowhere",
                hint="serve the engine first: `async with engine.serve(...)`",
            )
        described = self._described
        opened, user_side = await described.open_user_side(home, storage)
        with held_name(opened.path, KIND, described.name) as place:
            async with (
                Daemon.opened(self._docker_host, described.environment) as daemon,
                DockerInfrastructure.opened(
                    daemon,
                    self._ground,
                    user_side,
                    place.folder,
                    credentials=self._credentials,
                    auto_remove=self._auto_remove,
                ) as containers,
                described.at_work(
                    api,
                    url,
                    containers,
                    user_side,
                    place.name,
                    python=self._python,
                    universal=self._ground.default_image is not None,
                ) as agent,
            ):
                yield agent
