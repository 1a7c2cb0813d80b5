"""Planted bugs of several servers on one log: each is a small change of the real code, as in `planted`, that a server which is alone never
shows.
"""

from __future__ import annotations

import pytest

from playhead.core.names import Epoch, RunId
from playhead.core.state import RunState
from playhead.ports.store import Leading
from playhead.service.commands import RunCommands
from playhead.service.leadership import Leadership
from playhead.service.read_models import ReadModels
from playhead.service.signs import Signs
from tests.simulation.planted import put_in_place


def keeps_beats_to_itself(patch: pytest.MonkeyPatch) -> None:
    """A server that does not lead answers a heartbeat, and the one that leads never hears of it."""

    async def kept(_it: Signs, _run: RunId, _epoch: Epoch) -> None:
        """Say nothing."""

    put_in_place(patch, Signs, "of_runner", kept)


def answers_by_what_it_remembers(patch: pytest.MonkeyPatch) -> None:
    """A server that is behind tells an epoch that is over that it holds its lease."""
    leased = RunCommands.leased

    async def by_memory(it: RunCommands, run: str, epoch: Epoch, grant: str, *, newest: bool = False) -> RunState:
        return await leased(it, run, epoch, grant, newest=False)

    put_in_place(patch, RunCommands, "leased", by_memory)


def waits_for_no_leader(patch: pytest.MonkeyPatch) -> None:
    """Whoever does not lead takes the lead when it looks."""

    def silent(_it: Leadership, _newest: Leading, _asked: float) -> bool:
        return True

    put_in_place(patch, Leadership, "_is_silent", silent)


def waits_for_a_leader_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Nobody takes over from a leader that died."""

    def silent(_it: Leadership, _newest: Leading, _asked: float) -> bool:
        return False

    put_in_place(patch, Leadership, "_is_silent", silent)


def believes_in_itself_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A leader that was stopped, or is cut off, leads on until somebody tells it."""

    def leads(it: Leadership) -> bool:
        return it._shared is None or it._term is not None  # pyright: ignore[reportPrivateUsage]  # the bug is a change inside

    patch.setattr(Leadership, "leads", property(leads))


def reads_what_it_has(patch: pytest.MonkeyPatch) -> None:
    """A query is answered by the read models as they are, whatever position it asked for."""

    async def at_once(_it: ReadModels, _position: int, _seconds: float) -> None:
        """Wait for nothing."""

    put_in_place(patch, ReadModels, "wait_for", at_once)
