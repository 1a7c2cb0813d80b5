"""The port of admission: what an app that carries requests asks about the tokens that come with them. Grants nothing by itself.

A service has one. Which scope may ask what is not its matter: that is the app's table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from playhead.core.tokens import Scope
from playhead.ports.server import ServerApi


class Admission(Protocol):
    """Digests are those of `playhead.core.tokens`. Each is compared in constant time."""

    def admit(self, name: str, digest: str) -> Scope:
        """The scope of the token of that name, as it counts now. From memory: asked with every request, and by every open stream.

        Unauthenticated: no token of that name has this digest, it was revoked, or it has ended.
        """
        ...

    async def admit_runner(self, run: str, digest: str) -> None:
        """Return if it is the token of the runner of the run's newest epoch. EpochOver: it is not, or there is no such run."""
        ...

    def can_be_entered(self) -> bool:
        """Whether there is a live token by which somebody could use the server: a client's or an admin's."""
        ...


class Guarded(ServerApi, Protocol):
    """A server that says whom it admits: what can be served to others."""

    @property
    def admission(self) -> Admission: ...

    async def run_json(self, run: str, *, at: int | None = None, tasks: bool = True, after: int = 0) -> Sequence[bytes]:
        """What `run` answers, as the parts of its JSON text: a view may hold a hundred thousand tasks, and models of so many would stop
        whoever serves for seconds."""
        ...
