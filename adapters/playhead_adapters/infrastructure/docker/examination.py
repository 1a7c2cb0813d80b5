"""A Docker engine, looked at for the doctor: whether it answers this user, and what it is. Starts nothing in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from playhead.ports.examination import Finding, Health, Subject
from playhead_adapters.infrastructure.docker.daemon import Daemon, DaemonRefused, DaemonUnreachable


async def examine(subject: Subject) -> Sequence[Finding]:
    """The entry point `docker` of `playhead.examinations`. `where` is the engine's URL; None: as a Docker agent finds it."""
    try:
        async with Daemon.opened(subject.where, os.environ) as daemon:
            info = await daemon.info()
            where = daemon.host
    except DaemonUnreachable as error:
        return [Finding("docker", Health.FAIL, error.message, error.hint, unreachable=True)]
    except DaemonRefused as error:
        return [Finding("docker", Health.FAIL, error.message, error.hint)]
    except ValueError as error:  # of the library, for a URL that it cannot read
        todo = "an engine's URL begins with unix://, tcp://, http:// or https://"
        return [Finding("docker", Health.FAIL, f"{subject.where or os.environ.get('DOCKER_HOST')}: {error}", todo)]
    text = f"{where}, version {info['ServerVersion']}, {info['OSType']} on {info['Architecture']}"
    if info["OSType"] != "linux":
        todo = "runners need containers of Linux: switch the engine to those"
        return [Finding("docker", Health.FAIL, text, todo)]
    warnings: list[str] = info.get("Warnings") or []
    if any("memory" in warning.lower() and "swap" not in warning.lower() for warning in warnings):
        todo = "DockerRun(memory_mb=…) holds nobody back there: let the host's kernel count memory in cgroups"
        return [Finding("docker", Health.WARN, f"{text}: it cannot limit memory", todo)]
    return [Finding("docker", Health.OK, f"{text}, {info['ContainersRunning']} containers run")]
