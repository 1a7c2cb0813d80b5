"""Leases and claims: who holds a run, and since when it was not heard of. In memory, on the service's own monotonic clock.

Heartbeats change this table and nothing in the log. What a sweep finds ended becomes a command; that it is found twice, or
by two servers, does no harm, because the epoch is checked where it is decided. After a restart, and when another server begins to
lead, everybody gets a full term; and time in which this process itself stood still counts against nobody: whatever was sent
meanwhile lies unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from playhead.core.names import Epoch, RunId, Version
from playhead.core.state import RunState, RunStatus
from playhead.ports.clock import Clock
from playhead.service.settings import ServiceSettings


@dataclass(slots=True)
class _Lease:
    epoch: Epoch
    version: Version  # of the newest state seen
    status: RunStatus  # claimed, running or cancelling
    agent: str
    since: float  # when this service first saw the run in this status
    heard: float  # when its runner was last heard of


@dataclass(frozen=True, slots=True)
class Ended:
    """The lease or claim of this epoch is over."""

    run: RunId
    epoch: Epoch


class Leases:
    """`agent_heard` tells when an agent was last heard of, on the same clock."""

    def __init__(self, clock: Clock, settings: ServiceSettings, agent_heard: Callable[[str], float | None]) -> None:
        self._clock = clock
        self._settings = settings
        self._agent_heard = agent_heard
        self._leases: dict[RunId, _Lease] = {}
        self._looked = clock.monotonic()

    def observe(self, state: RunState) -> None:
        """A run's newest state: its lease begins, changes or ends."""
        head = state.head
        lease = self._leases.get(head.run)
        if lease is not None and lease.version > state.version:
            return  # news from the log may come after what a command has told already
        if not (head.status is RunStatus.CLAIMED or head.status.leased):
            self._leases.pop(head.run, None)
            return
        now = self._clock.monotonic()
        started = lease is not None and lease.status is RunStatus.CLAIMED and head.status.leased
        if lease is None or lease.epoch != head.epoch or started:
            lease = _Lease(head.epoch, state.version, head.status, head.agent or "", since=now, heard=now)
        elif lease.status is not head.status:
            lease = replace(lease, status=head.status, since=now)  # a cancel is no sign of life of the runner
        lease.version = state.version
        self._leases[head.run] = lease

    def beat(self, state: RunState) -> float:
        """The runner was heard of: the seconds of its term from now. Not renewed once a cancel's grace is over."""
        self.observe(state)
        now = self._clock.monotonic()
        lease = self._leases.get(state.head.run)
        if lease is None:
            return 0.0
        if not self._grace_is_over(lease, now):
            lease.heard = now
        return max(0.0, lease.heard + self._settings.lease_seconds - now)

    def renews(self, state: RunState) -> bool:
        """Whether a sign of the runner renews its term."""
        lease = self._leases.get(state.head.run)
        return lease is None or not self._grace_is_over(lease, self._clock.monotonic())

    def spoke(self, state: RunState) -> None:
        """The log holds news that the runner of this epoch told to any server."""
        lease = self._leases.get(state.head.run)
        if lease is not None and lease.epoch == state.head.epoch:
            now = self._clock.monotonic()
            lease.heard = lease.heard if self._grace_is_over(lease, now) else now

    def heard(self, run: RunId, epoch: Epoch) -> None:
        """Another server heard of the runner of this epoch. Whether that renews its term was decided there: the runner was told so."""
        lease = self._leases.get(run)
        if lease is not None and lease.epoch == epoch:
            lease.heard = self._clock.monotonic()

    def renew(self) -> None:
        """From now on this server judges, who was told of nothing that the one before it heard: everyone has a full term."""
        now = self._looked = self._clock.monotonic()
        for lease in self._leases.values():
            lease.heard = now

    def ended(self, now: float) -> list[Ended]:
        """The leases and claims that were over at that moment of the monotonic clock. To be asked once in each sweep: a longer silence of
        the asker is its own."""
        self._forgive(now)
        return [Ended(run, lease.epoch) for run, lease in self._leases.items() if self._is_over(lease, now)]

    def is_over(self, ended: Ended, now: float) -> bool:
        """Whether it was so at that moment, by all that was heard since."""
        lease = self._leases.get(ended.run)
        return lease is not None and lease.epoch == ended.epoch and self._is_over(lease, now)

    def _forgive(self, now: float) -> None:
        """Every term is longer by the time in which nobody here listened: the process was stopped, or its loop held up."""
        away = now - self._looked - self._settings.sweep_seconds
        self._looked = now
        if away > self._settings.sweep_seconds:
            for lease in self._leases.values():
                lease.since = min(now, lease.since + away)
                lease.heard = min(now, lease.heard + away)

    def _is_over(self, lease: _Lease, now: float) -> bool:
        if lease.status is not RunStatus.CLAIMED:
            return now - lease.heard >= self._settings.lease_seconds
        heard = max(lease.heard, self._agent_heard(lease.agent) or lease.heard)
        launching = now - lease.since < self._settings.launch_timeout_seconds
        return not launching or now - heard >= self._settings.agent_silence_seconds

    def _grace_is_over(self, lease: _Lease, now: float) -> bool:
        return lease.status is RunStatus.CANCELLING and now - lease.since >= self._settings.cancel_grace_seconds

    def __len__(self) -> int:
        return len(self._leases)
