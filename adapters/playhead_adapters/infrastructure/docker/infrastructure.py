"""The Docker infrastructure: each runner is a container of its own. Owns which were launched, finding them again, and clearing them away.

A container's name carries run and epoch, so that the engine itself lets only one be launched; one that is there is adopted. It gets its
order by a file before it starts: what was created and never started has run nothing, and is removed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from playhead.agent.infrastructure import Infrastructure, Launched
from playhead.agent.user_side import KeptOutput, UserSide
from playhead.background import background
from playhead.core.kinds import ReleaseReason
from playhead.errors import LaunchFailed, PlayheadError, UsageError
from playhead.flows.run_config import parse_run_config
from playhead.runner.bootstrap import RunnerOrder
from playhead_adapters.infrastructure.docker.blueprint import (
    CUSTODIAN,
    Blueprint,
    Ground,
    blueprint,
    container_name,
)
from playhead_adapters.infrastructure.docker.boot import ORDER_FOLDER, ORDER_NAME
from playhead_adapters.infrastructure.docker.container import AWAY_SECONDS, ContainerRunner, signalled
from playhead_adapters.infrastructure.docker.daemon import Daemon, DaemonRefused, DaemonUnreachable, Shown
from playhead_adapters.infrastructure.docker.images import Images, read_credentials
from playhead_adapters.infrastructure.docker.records import Records

KIND: Final = "docker"

_NEVER_BEGAN: Final = ("created", "removing")
_log = logging.getLogger("playhead.agent")


class DockerInfrastructure(Infrastructure):
    """`auto_remove`: containers are removed once their ends were reported; else whoever looks at them removes them."""

    def __init__(
        self, daemon: Daemon, images: Images, tasks: TaskGroup, ground: Ground, user_side: UserSide, records: Records,
        custodian: str, *, auto_remove: bool,
    ) -> None:  # fmt: skip
        self._daemon = daemon
        self._images = images
        self._tasks = tasks
        self._ground = ground
        self._user_side = user_side
        self._records = records
        self._custodian = custodian
        self._auto_remove = auto_remove
        self._runners: dict[str, ContainerRunner] = {}  # by the container's id
        self._launching: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()  # by the container's name
        self._undone: set[str] = set()  # names of containers of launches that were taken back while the engine was away

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        daemon: Daemon,
        ground: Ground,
        user_side: UserSide,
        folder: Path,
        *,
        credentials: Path | None,
        auto_remove: bool,
    ) -> AsyncGenerator[DockerInfrastructure]:
        """UsageError: no engine answers, or the file of credentials cannot be used. `folder` is the agent's own. Containers that
        are left at the end go on."""
        await to_thread.run_sync(read_credentials, credentials)
        try:
            version = await daemon.version()
        except PlayheadError as error:
            raise UsageError(error.message, hint=error.hint) from error
        _log.info("the Docker engine at %s is of version %s", daemon.host, version)
        records = Records(folder)
        custodian = await to_thread.run_sync(records.custodian)
        async with background() as tasks:
            images = Images(daemon, tasks, credentials)
            opened = cls(daemon, images, tasks, ground, user_side, records, custodian, auto_remove=auto_remove)
            tasks.start_soon(opened._listen)
            yield opened

    @property
    def kind(self) -> str:
        return KIND

    async def launch(self, order: RunnerOrder) -> Launched:
        seal = await to_thread.run_sync(self._user_side.seal, order)
        wanted = blueprint(order, parse_run_config(dict(seal.run_config)), self._ground, self._custodian)
        try:
            await self._images.provide(wanted.image, wanted.pull)
            return await self._launch(wanted)
        except DaemonUnreachable as error:
            raise LaunchFailed(
                error.message, hint=error.hint, reason=ReleaseReason.INFRASTRUCTURE_UNREACHABLE
            ) from error
        except DaemonRefused as error:
            raise _explained(error, wanted) from error

    async def survivors(self) -> Sequence[Launched]:
        """A container of ours that has run, and whose end nobody has reported."""
        found = await self._daemon.with_label(f"{CUSTODIAN}={self._custodian}")
        survivors: list[ContainerRunner] = []
        for shown in found:
            runner = ContainerRunner(shown, self._daemon, self)
            known = await to_thread.run_sync(self._records.read, runner.run, runner.epoch)
            if shown["State"] in _NEVER_BEGAN or (known is None and shown["State"] == "exited"):
                await self._clear(runner, began=shown["State"] not in _NEVER_BEGAN)
            else:
                survivors.append(runner)
        there = {(runner.run, runner.epoch) for runner in survivors}
        for kept in await to_thread.run_sync(lambda: list(self._records.all())):
            if (kept.run, kept.epoch) not in there:
                await to_thread.run_sync(self._records.remove, kept.run, kept.epoch)
        self._runners |= {runner.id: runner for runner in survivors}
        return survivors

    async def tend(self) -> None:
        """Clear away what is nobody's: launches that were taken back, and what has ended and been reported."""
        try:
            for name in tuple(self._undone):
                await self._remove_ours(name)
                self._undone.discard(name)
            for shown in await self._daemon.with_label(f"{CUSTODIAN}={self._custodian}"):
                await self._tend(ContainerRunner(shown, self._daemon, self), shown["State"])
        except PlayheadError as error:
            _log.warning("containers were not tidied up: %s", error.message)

    async def _tend(self, runner: ContainerRunner, state: str) -> None:
        if runner.id in self._runners or container_name(runner.run, runner.epoch) in self._launching:
            return
        if state in _NEVER_BEGAN:  # the engine made it after it had failed to say so
            await self._clear(runner, began=False)
        elif state == "exited" and await to_thread.run_sync(self._records.read, runner.run, runner.epoch) is None:
            await self._clear(runner, began=True)

    # --- for its containers ------------------------------------------------------------------------------------------

    def persistently_signal(self, container: str, name: str) -> None:
        self._tasks.start_soon(signalled, self._daemon, container, name)

    async def put_away(self, runner: ContainerRunner, *, keep_output: bool) -> None:
        """Its output into storage, then the container away. What fails here is told and left: `tend` clears it away later."""
        kept = await to_thread.run_sync(self._records.read, runner.run, runner.epoch)
        try:
            if kept is not None:
                await self._keep_output(runner, kept)
        except PlayheadError as error:
            _log.warning("run %s: what its container wrote is lost: %s", runner.run, error.message)
        await to_thread.run_sync(self._records.remove, runner.run, runner.epoch)
        self._runners.pop(runner.id, None)
        try:
            await self._clear(runner, began=True)
        except PlayheadError as error:
            _log.warning("run %s: its container is still there: %s", runner.run, error.message)

    async def _keep_output(self, runner: ContainerRunner, kept: KeptOutput) -> None:
        text = await self._daemon.output(runner.id)
        if text:
            data = text.encode("utf-8", "replace")
            runner.output_path = await to_thread.run_sync(self._user_side.keep_output, kept, data)

    async def _clear(self, runner: ContainerRunner, *, began: bool) -> None:
        if self._auto_remove or not began:
            await self._daemon.remove(runner.id)

    # --- launching ---------------------------------------------------------------------------------------------------

    async def _launch(self, wanted: Blueprint) -> ContainerRunner:
        """The container of that name at work with the order: this one, or the one that was there."""
        async with self._launching.setdefault(
            wanted.name, anyio.Lock()
        ):  # else one would take the other's for a dead agent's
            return await self._launch_alone(wanted)

    async def _launch_alone(self, wanted: Blueprint) -> ContainerRunner:
        await to_thread.run_sync(self._records.write, KeptOutput.of(wanted.order))
        try:
            try:
                container = await self._created(wanted)
            except DaemonRefused as error:
                if error.status != 409:
                    raise
                there = await self._there(wanted.name)
                if there is not None:
                    return self._remember(there)
                container = await self._created(wanted)
            await self._daemon.put(container, ORDER_FOLDER, self._ground.owner, ORDER_NAME, wanted.order.to_bytes())
            await self._started(container)
            return self._remember(await self._daemon.inspect(container))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._undo(wanted)
            raise

    async def _created(self, wanted: Blueprint) -> str:
        """Not cut off while the engine is asked: it might make the container after it was told to remove it."""
        container = ""
        with anyio.CancelScope(shield=True):
            container = await self._daemon.create(wanted.name, wanted.config)
        return container  # noqa: RET504 - to type checkers, such a scope may go on where it was left

    async def _there(self, name: str) -> Shown | None:
        """The container of that name; None: it never began, and is gone."""
        shown = await self._daemon.inspect(name)
        if not self._is_ours(shown):
            raise LaunchFailed(
                f"there is a container {name} of another agent's", hint="remove it, if that agent is no more"
            )
        if shown["State"]["Status"] not in _NEVER_BEGAN:
            return shown
        await self._daemon.remove(shown["Id"])
        return None

    async def _started(self, container: str) -> None:
        """Start it. An engine that goes away meanwhile is asked what came of it: it may have begun."""
        try:
            await self._daemon.start(container)
            return
        except DaemonUnreachable as error:
            _log.warning("%s; asking what became of the container %s", error.message, container[:12])
        while True:
            try:
                shown = await self._daemon.inspect(container)
            except DaemonUnreachable:
                await anyio.sleep(AWAY_SECONDS)
                continue
            if shown["State"]["Status"] not in _NEVER_BEGAN:
                return
            await self._daemon.start(container)
            return

    async def _undo(self, wanted: Blueprint) -> None:
        """Nothing of it is left; where the engine does not answer, not for longer than that lasts."""
        try:
            await self._remove_ours(wanted.name)
        except PlayheadError:
            self._undone.add(wanted.name)
        await to_thread.run_sync(self._records.remove, wanted.order.run, wanted.order.epoch)

    async def _remove_ours(self, name: str) -> None:
        """Remove the container of that name, if this agent made it: another agent's is at work for that one."""
        try:
            shown = await self._daemon.inspect(name)
        except DaemonRefused as error:
            if error.status == 404:
                return
            raise
        if self._is_ours(shown):
            await self._daemon.remove(shown["Id"])

    def _is_ours(self, shown: Shown) -> bool:
        return bool(shown["Config"]["Labels"].get(CUSTODIAN) == self._custodian)

    def _remember(self, shown: Shown) -> ContainerRunner:
        runner = self._runners.get(shown["Id"])
        if runner is None:
            runner = self._runners[shown["Id"]] = ContainerRunner(shown, self._daemon, self)
        return runner

    async def _listen(self) -> None:
        """What the engine tells is a hint: each container that it names is looked at. After a silence, all of them."""
        while True:
            try:
                async for container in self._daemon.ends(f"{CUSTODIAN}={self._custodian}"):
                    for runner in [self._runners.get(container)] if container else list(self._runners.values()):
                        if runner is not None:
                            runner.look()
            except PlayheadError as error:
                _log.debug("the Docker engine tells nothing: %s", error.message)
            await anyio.sleep(AWAY_SECONDS)


def _explained(error: DaemonRefused, wanted: Blueprint) -> LaunchFailed:
    """The engine does not say by code what it has against a container; its words are looked at for what can be helped."""
    said = error.message.lower()
    if error.status == 404 and "image" in said:
        return LaunchFailed(error.message, hint="it was there a moment ago", reason=ReleaseReason.IMAGE_MISSING)
    if "executable file not found" in said or "no such file or directory: unknown" in said:
        return LaunchFailed(
            f"the image {wanted.image} has no interpreter of that name: {error.message}",
            hint="name it: DockerRun(python=…)",
            reason=ReleaseReason.IMAGE_UNFIT,
        )
    if "bind source path does not exist" in said and wanted.order.storage_url.partition("://")[2] in error.message:
        return LaunchFailed(
            f"the engine's host does not see the storage: {error.message}",
            hint="agent and engine must share the folder under one path",
            reason=ReleaseReason.STORAGE_UNREACHABLE,
        )
    if "device driver" in said and "gpu" in said:
        return LaunchFailed(
            f"this engine has no GPU to give: {error.message}",
            hint="it needs GPUs, and what lets containers use them (the NVIDIA Container Toolkit)",
        )
    return LaunchFailed(error.message, hint="see the run config and the agent's options")
