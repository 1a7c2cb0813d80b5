"""The port of infrastructures: where runners live. An agent knows runs, claims and leases; an infrastructure knows none of these.

The local one starts processes; containers and jobs implement the same port.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from playhead.runner.bootstrap import RunnerOrder


@dataclass(frozen=True, slots=True)
class Exit:
    """Proof that a runner and everything that it started is gone.

    At most one of `exit_code` and `signal` is set. Neither: it is certainly gone, but how it ended was seen by nobody (its agent
    was away at that time).
    """

    exit_code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False  # it was killed for using more than its container may

    def __post_init__(self) -> None:
        assert self.exit_code is None or self.signal is None


@dataclass(frozen=True, slots=True)
class LostSight:
    """The runner can no longer be seen; whether it lives is not known. No proof of death: the lease decides."""

    why: str


class Launched(Protocol):
    """A runner that was launched, by this agent or by an earlier life of it.

    * `wait` returns when the runner has ended *and* all that it started in its group, container or job has been killed; the same
      answer each time. Cancelling it leaves the runner alone.
    * `terminate` asks the runner and its group to end, `kill` makes them; both return at once, and do nothing to one that has ended.
    * `forget` drops what the infrastructure keeps of an ended runner, once its end has been reported. `keep_output`: what it
      wrote is left for the user to read (a bounded number of times).
    """

    @property
    def run(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def output(self) -> str:
        """Where its reader finds what it wrote, once it has ended and its output was kept."""
        ...

    async def wait(self) -> Exit | LostSight: ...

    async def terminate(self) -> None: ...

    async def kill(self) -> None: ...

    async def forget(self, *, keep_output: bool) -> None: ...


class Infrastructure(Protocol):
    """One kind of infrastructure.

    * `launch` returns when a runner was given the order. Of any number of calls for one (run, epoch), by any number of agents of this
      name, at most one starts a runner; the others adopt it. `LaunchFailed` and cancellation: nothing of it is left running.
    * `survivors` gives the runners that an earlier life of this agent launched and whose end it did not report, dead ones included.
    * `tend` is called now and then, to keep what runners leave behind within its bounds. It never ends a runner.
    """

    @property
    def kind(self) -> str: ...

    async def launch(self, order: RunnerOrder) -> Launched: ...

    async def survivors(self) -> Sequence[Launched]: ...

    async def tend(self) -> None: ...
