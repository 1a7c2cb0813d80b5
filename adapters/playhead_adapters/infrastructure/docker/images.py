"""Images on the engine: whether one is there, and pulling it if it may be. Owns pulls under way and credentials for registries."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup

from playhead.core.kinds import ReleaseReason
from playhead.errors import LaunchFailed, PlayheadError, UsageError
from playhead.flows.run_config import PullPolicy
from playhead_adapters.infrastructure.docker.daemon import Daemon

HUB: Final = "docker.io"
_HUB_KEYS: Final = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")  # as `docker login` writes them


class Images:
    """A pull that takes longer than its launch may goes on: the next launch of the image finds it further, or done."""

    def __init__(self, daemon: Daemon, tasks: TaskGroup, credentials: Path | None) -> None:
        self._daemon = daemon
        self._tasks = tasks
        self._credentials = credentials
        self._pulls: dict[str, _Pull] = {}

    async def provide(self, image: str, policy: PullPolicy) -> None:
        """Return when the image is there. LaunchFailed: it is not, and is not to be had."""
        there = policy != "always" and await self._daemon.has_image(image)
        if there:
            return
        if policy == "never":
            raise _missing(image, "it is not on the engine, and pulling it is not allowed")
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = _Pull()
            self._tasks.start_soon(self._pull, image, pull)
        await pull.done.wait()
        if pull.error is not None:
            raise _missing(image, pull.error.message) from pull.error

    async def _pull(self, image: str, pull: _Pull) -> None:
        try:
            await self._daemon.pull(image, credentials_for(image, self._credentials))
        except PlayheadError as error:
            pull.error = error
        finally:
            del self._pulls[image]
            pull.done.set()


class _Pull:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: PlayheadError | None = None


def credentials_for(image: str, file: Path | None) -> Mapping[str, str] | None:
    """What the file has for the image's registry. UsageError as of `read_credentials`."""
    host, auths = registry_of(image), read_credentials(file)
    for key in _HUB_KEYS if host == HUB else (host, f"https://{host}", f"http://{host}"):
        found: Any = auths.get(key)
        if isinstance(found, Mapping) and "auth" in found:
            return {"auth": str(cast("Mapping[str, Any]", found)["auth"])}
    return None


def read_credentials(file: Path | None) -> Mapping[str, Any]:
    """By registry, from a file as `docker login` writes it. UsageError: it cannot be used, or others may read it."""
    if file is None:
        return {}
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UsageError(f"others may read {file}, which holds credentials", hint=f"chmod 600 {file}")
        auths: Mapping[str, Any] = json.loads(file.read_bytes()).get("auths", {})
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"registry credentials cannot be read from {file}: {error}", hint="`docker login` writes such a file"
        ) from None
    return auths


def registry_of(image: str) -> str:
    """The host that an image is pulled from, by the rule of the engine: a first part with a dot or a port, or `localhost`."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB


def _missing(image: str, why: str) -> LaunchFailed:
    return LaunchFailed(
        f"the image {image} is not to be had: {why}",
        hint="build or pull it on the engine's host, or give the agent credentials for its registry",
        reason=ReleaseReason.IMAGE_MISSING,
    )
