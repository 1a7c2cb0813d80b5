"""What adapters speak to, looked at by the adapters themselves. Owns when that is asked for, and what is said where none can look."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from playhead.ports.examination import ENTRY_POINTS, Examination, Finding, Health, Subject

DOCKER_SOCKET: Final = Path("/var/run/docker.sock")  # where an engine is by itself


@dataclass(frozen=True)
class Asked:
    """What the doctor was asked to look at beside Playhead's own."""

    docker_host: str | None = None
    dask: str | None = None
    modules: tuple[str, ...] = ()


async def outside(asked: Asked, storage_url: str | None) -> list[Finding]:
    """Docker where it was asked for, or is likely to be used; Dask where it was asked for: nobody but the user knows its address."""
    findings: list[Finding] = []
    if asked.docker_host is not None or os.environ.get("DOCKER_HOST"):
        findings += await _looked_at("docker", Subject(where=asked.docker_host, storage_url=storage_url))
    elif DOCKER_SOCKET.exists() and _installed("docker"):  # nobody said that it is used: trouble with it fails nothing
        found = await _looked_at("docker", Subject(where=None, storage_url=storage_url))
        findings += [replace(one, health=Health.WARN) if one.health is Health.FAIL else one for one in found]
    if asked.dask is not None:
        subject = Subject(where=asked.dask, modules=asked.modules, storage_url=storage_url)
        findings += await _looked_at("dask", subject)
    return findings


async def _looked_at(name: str, subject: Subject) -> Sequence[Finding]:
    examination = _examination(name)
    if isinstance(examination, str):
        return [Finding(name, Health.FAIL, f"{examination}: it cannot be looked at", f"pip install 'playhead[{name}]'")]
    return await examination(subject)


def _installed(name: str) -> bool:
    return not isinstance(_examination(name), str)


def _examination(name: str) -> Examination | str:
    """What looks at it; or why nothing here can."""
    found: EntryPoint | None = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        return f"no examination of {name} is installed"
    try:
        examination: Examination = found.load()
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed"
    return examination
