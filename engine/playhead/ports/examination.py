"""The port of examinations: how the doctor has somebody look at one outside thing. A contract, no code.

An adapter registers one under the entry point group `playhead.examinations`, by the name of what it looks at (`docker`, `dask`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

ENTRY_POINTS: Final = "playhead.examinations"
ANSWER_SECONDS: Final = 10.0  # for an outside thing to answer the doctor: somebody sits there and waits


class Health(StrEnum):
    OK = "ok"
    WARN = "warn"  # things work, and somebody may be surprised
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`todo` says what to do about it, where there is something. `unreachable`: what fails is that nobody is there."""

    part: str
    health: Health
    text: str
    todo: str | None = None
    unreachable: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be looked at, and what should be there.

    `where`: its address, as a user gave it; None: where it is by itself. `modules`: that flows import there. `storage_url`: the storage
    that it should see; None: that is not known.
    """

    where: str | None
    modules: Sequence[str] = ()
    storage_url: str | None = None


class Examination(Protocol):
    """Looks, and changes nothing. Tells of trouble by findings, not by errors, and waits for no answer longer than ANSWER_SECONDS."""

    async def __call__(self, subject: Subject) -> Sequence[Finding]: ...
