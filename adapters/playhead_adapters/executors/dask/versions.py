"""What must agree between the runner and its workers, which read what the other has pickled. Compares; asks nobody."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Final

SAME_VERSIONS: Final = "workers and runner need the same versions: what one pickles the other must read"


class OtherVersions(Exception):
    """Raised in a worker: it has not what the runner has. Its text says what differs."""


@cache
def of_this_process() -> dict[str, str]:
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "playhead": version("playhead"),
        "distributed": version("distributed"),
        "cloudpickle": version("cloudpickle"),
    }


@cache
def said() -> str:
    """The versions of this process in one short text, to go with each parcel."""
    return " ".join(f"{name}={value}" for name, value in of_this_process().items())


def differing(workers: Mapping[str, str], runners: Mapping[str, str]) -> str:
    """What a worker has that differs from the runner's, in words; nothing where all agrees."""
    return ", ".join(
        f"{name} {workers.get(name)} and not {version}"
        for name, version in runners.items()
        if workers.get(name) != version
    )


def check(runners: str, address: str) -> None:
    """In the worker that is there: OtherVersions unless it has the runner's, as `said` there."""
    if runners != said():
        theirs = dict(each.split("=", 1) for each in runners.split())
        raise OtherVersions(f"the Dask worker {address} has {differing(of_this_process(), theirs)}")
