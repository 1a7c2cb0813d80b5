"""Matching: whether an agent can serve a run, and what exactly is missing if not. Pure; agents and the server share it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

UNIVERSAL: Final = "universal"  # the kind of run config that names no infrastructure


class Wants(Protocol):
    """What a run asks of an agent: a row of `runs`, or the event that scheduled it."""

    @property
    def run_config(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def storage(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def python(self) -> str | None:
        """The minor version that the code was sealed with by value; None: any."""
        ...


class Offers(Protocol):
    """What an agent has: a row of `agents`, or the event by which it joined."""

    @property
    def kind(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def storages(self) -> tuple[str, ...]: ...
    @property
    def key_ids(self) -> tuple[str, ...]: ...
    @property
    def python(self) -> str: ...
    @property
    def universal(self) -> bool:
        """It takes runs that name no infrastructure, which an agent of containers without a default image does not."""
        ...


class Lack(StrEnum):
    """What an agent may lack for a run."""

    KIND = "kind"
    LABELS = "labels"
    STORAGE = "storage"
    KEY = "key"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Missing:
    """The agent lacks `wanted`, and has `present` instead."""

    lack: Lack
    wanted: tuple[str, ...]
    present: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.lack}: wants {', '.join(self.wanted)}; there is {', '.join(self.present) or 'none'}"


def missing(run: Wants, agent: Offers) -> tuple[Missing, ...]:
    """All that the agent lacks for the run, in the order of `Lack`. Empty: it fits."""
    kinds = {agent.kind, UNIVERSAL} if agent.universal else {agent.kind}
    python = {run.python} if run.python is not None else set[str]()
    found = (
        _lacks(Lack.KIND, {run.run_config}, kinds, shown=(agent.kind,)),
        _lacks(Lack.LABELS, run.labels, agent.labels),
        _lacks(Lack.STORAGE, {run.storage}, agent.storages),
        _lacks(Lack.KEY, {run.key_id}, agent.key_ids),
        _lacks(Lack.PYTHON, python, {agent.python}),
    )
    return tuple(one for one in found if one is not None)


def _lacks(
    lack: Lack, wanted: Collection[str], present: Collection[str], *, shown: tuple[str, ...] | None = None
) -> Missing | None:
    absent = sorted(set(wanted) - set(present))
    return Missing(lack, tuple(absent), shown or tuple(sorted(present))) if absent else None
