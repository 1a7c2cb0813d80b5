"""The Docker engine that an agent speaks to. Owns the connection and what its errors mean; knows nothing of runs.

Everything here is bounded in time, but for a pull, which is as long as an image is large, and the stream of events.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import aiodocker
import aiohttp

from playhead.errors import PlayheadError

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
REQUEST_SECONDS: Final = 60.0  # an engine under load takes seconds to create a container, and never a minute
CONNECT_SECONDS: Final = 10.0
NO_ANSWER: Final = 900  # the library's status for an engine that it could not connect to
MAX_OUTPUT_LINES: Final = 20_000  # of a container that ended: its last words, and a lot more

Shown = Mapping[str, Any]  # what the engine tells of a container


class DaemonUnreachable(PlayheadError):
    """The engine does not answer, or stopped doing so: what was asked for may have been done."""

    code = "daemon_unreachable"


class DaemonRefused(PlayheadError):
    """The engine's answer is no. `status`: 404 there is no such thing, 409 its state does not allow it."""

    code = "daemon_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint="see the Docker engine's own log")
        self.status = status


class Daemon:
    """Every method raises DaemonUnreachable and DaemonRefused."""

    def __init__(self, host: str, docker: Any) -> None:
        self.host = host
        self._docker: Any = docker  # aiodocker's types are unknown to strict checkers in part

    @classmethod
    @asynccontextmanager
    async def opened(cls, host: str | None, environment: Mapping[str, str]) -> AsyncGenerator[Daemon]:
        """`host`: None: as DOCKER_HOST says, else the engine of this machine. Nothing is asked of it yet."""
        where = host or environment.get("DOCKER_HOST") or DEFAULT_HOST
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        async with aiodocker.Docker(where, timeout=timeout) as docker:
            yield cls(where, docker)

    async def version(self) -> str:
        with self._explained():
            return str((await self._docker.version())["Version"])

    async def info(self) -> Mapping[str, Any]:
        """What `docker info` shows."""
        with self._explained():
            shown: Mapping[str, Any] = await self._docker.system.info()
            return shown

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        """The id of the new container. 409: there is one of that name."""
        with self._explained():
            return str((await self._docker.containers.create(config, name=name)).id)

    async def put(self, container: str, folder: str, owner: tuple[int, int], name: str, data: bytes) -> None:
        """Put a file into a folder at the container's root, both of them for the owner alone."""
        with self._explained():
            await self._docker.containers.container(container).put_archive("/", _packed(folder, owner, name, data))

    async def start(self, container: str) -> None:
        with self._explained():
            await self._docker.containers.container(container).start()

    async def inspect(self, container: str) -> Shown:
        """By id or name."""
        with self._explained():
            shown: Shown = await self._docker.containers.container(container).show()
            return shown

    async def with_label(self, label: str) -> list[Shown]:
        """All containers with that label, `name=value`; those that have ended, too."""
        with self._explained():
            found = await self._docker.containers.list(all=1, filters=json.dumps({"label": [label]}))
            return [each._container for each in found]  # the library has no other way to it

    async def output(self, container: str) -> str:
        """The end of what it wrote."""
        with self._explained():
            lines = await self._docker.containers.container(container).log(
                stdout=True, stderr=True, tail=MAX_OUTPUT_LINES, timeout=REQUEST_SECONDS
            )
            return "".join(lines)

    async def signal(self, container: str, name: str) -> None:
        """409: it does not run."""
        with self._explained():
            await self._docker.containers.container(container).kill(signal=name)

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes, at work or not. One that is gone is fine."""
        try:
            with self._explained():
                await self._docker.containers.container(container).delete(force=True, v=True, timeout=REQUEST_SECONDS)
        except DaemonRefused as error:
            if error.status not in (404, 409):  # 409: somebody is removing it
                raise

    async def has_image(self, image: str) -> bool:
        try:
            with self._explained():
                await self._docker.images.inspect(image)
        except DaemonRefused as error:
            if error.status != 404:
                raise
            return False
        return True

    async def pull(self, image: str, credentials: Mapping[str, str] | None) -> None:
        with self._explained():
            await self._docker.images.pull(image, auth=credentials)

    async def ends(self, label: str) -> AsyncGenerator[str]:
        """Ids of containers with the label, as they end. Begins with an empty one, once it listens. Ends when the engine does."""
        filters = json.dumps({"type": ["container"], "event": ["die", "destroy", "oom"], "label": [label]})
        with self._explained():
            subscriber = self._docker.events.subscribe(filters=filters)
            try:
                yield ""
                while (event := await subscriber.get()) is not None:
                    yield str(event["Actor"]["ID"])
            finally:
                await self._docker.events.stop()

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except aiodocker.DockerError as error:
            if error.status >= NO_ANSWER:
                raise self._unreachable(error.__context__ or error) from error
            raise DaemonRefused(f"the Docker engine says: {error.message}", status=error.status) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> DaemonUnreachable:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        said = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
        return DaemonUnreachable(f"no Docker engine answers at {self.host}: {said}", hint=hint_for(cause))


def hint_for(cause: BaseException) -> str:
    if isinstance(cause, PermissionError):
        return "this user may not use its socket: let it be in the group that owns the socket (`docker`), or run the agent as another"
    return "start the engine, or say where it is with DOCKER_HOST or --docker-host"


def _packed(folder: str, owner: tuple[int, int], name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, mode, kind, body in (
            (folder, 0o700, tarfile.DIRTYPE, b""),
            (f"{folder}/{name}", 0o400, tarfile.REGTYPE, data),
        ):
            entry = tarfile.TarInfo(path)
            entry.mode, entry.type, entry.size = mode, kind, len(body)
            entry.uid, entry.gid = owner
            archive.addfile(entry, io.BytesIO(body))
    return packed.getvalue()
