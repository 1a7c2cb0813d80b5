"""The weather of one simulation: which faults happen, and how often. Values, drawn from the seed; faults end before the end."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.simulation.network import LEASE_SECONDS, Losses

LONGEST_LIFE: Final = 400  # steps of a runner: where a fault may strike

NO_LOSSES: Final = Losses()
LAST_APPEND: Final = 15  # to its journal, about


class Fault(Enum):
    KILL = "kill"
    STOP = "stop"  # SIGSTOP, and SIGCONT about three leases later
    CUT_OFF = "cut off"  # from the server, in both directions
    LATE = "late"  # one fiber waits, and the others of its process go on


@dataclass(frozen=True)
class Fate:
    """What happens to a process at its n-th step, or at the n-th whose label begins with `where`."""

    at_step: int
    fault: Fault
    seconds: float = 0.0
    where: str = ""


@dataclass(frozen=True)
class Weather:
    """`fates[i]` are those of the run's i-th runner; later ones meet none."""

    flow: int = 0
    shares_memory: bool = True
    switching: float = 0.2
    fates: tuple[tuple[Fate, ...], ...] = ()
    server: tuple[Fate, ...] = ()  # of its first life
    losses: Losses = NO_LOSSES
    failing_flushes: float = 0.0
    losing_workers: float = 0.0
    proofs: float = 1.0  # how likely a death is seen by the agent; otherwise the lease decides
    cancel_after: float | None = None  # seconds
    skews: tuple[float, ...] = ()  # of the runners' clocks, seconds

    @classmethod
    def of(cls, rng: random.Random) -> Weather:
        """Every kind of weather, mostly with a few faults at once."""
        rough = rng.random() < 0.4
        return cls(
            flow=rng.randrange(2),
            shares_memory=rng.random() < 0.6,
            switching=rng.choice((0.02, 0.2, 0.6)),
            fates=tuple(_fates(rng, most=2 if index < 2 else 1) for index in range(3)),
            server=_server(rng),
            losses=Losses(request=0.1 * rough, answer=0.1 * rough, doubled=rng.choice((0.0, 0.2)), late=0.05 * rough),
            failing_flushes=rng.choice((0.0, 0.0, 0.03)),
            losing_workers=rng.choice((0.0, 0.1)),
            proofs=rng.choice((0.0, 0.5, 1.0)),
            cancel_after=rng.uniform(0.5, 12.0) if rng.random() < 0.15 else None,
            skews=tuple(rng.uniform(-0.5, 0.5) for _ in range(10)),
        )


def _fates(rng: random.Random, most: int) -> tuple[Fate, ...]:
    return tuple(_fate(rng) for _ in range(rng.randint(0, most)))


def _fate(rng: random.Random) -> Fate:
    # As likely early as late on a logarithmic scale: the first steps of a runner are its most delicate.
    step = round(math.exp(rng.uniform(0.0, math.log(LONGEST_LIFE))))
    fault = rng.choice((Fault.KILL, Fault.KILL, Fault.STOP, Fault.STOP, Fault.CUT_OFF, Fault.LATE))
    seconds = LEASE_SECONDS * (rng.uniform(0.2, 3.0) if fault is not Fault.STOP else rng.uniform(1.2, 4.0))
    if fault in (Fault.KILL, Fault.STOP) and rng.random() < 0.3:
        return Fate(
            rng.randint(1, LAST_APPEND), fault, seconds, where=rng.choice(("append", "half written", "written"))
        )
    return Fate(step, fault, seconds)


def _server(rng: random.Random) -> tuple[Fate, ...]:
    if rng.random() < 0.7:
        return ()
    return (Fate(rng.randint(10, 60), rng.choice((Fault.KILL, Fault.STOP)), rng.uniform(0.5, 2 * LEASE_SECONDS)),)


def stopped_in_an_append(rng: random.Random) -> Weather:
    """The first runner is stopped while it writes, and goes on when the second has taken over; that one is killed later."""
    where = rng.choice(("append", "half written"))
    stop = Fate(rng.randint(1, LAST_APPEND), Fault.STOP, LEASE_SECONDS * rng.uniform(1.2, 2.0), where)
    kill = Fate(rng.randint(60, 250), Fault.KILL)
    return Weather(
        flow=rng.randrange(2),
        shares_memory=rng.random() < 0.5,
        switching=rng.choice((0.2, 0.6)),
        fates=((stop,), (kill,)),
    )


def stopped_and_killed(rng: random.Random) -> Weather:
    """The first runner is stopped anywhere, and the second is killed."""
    stop = Fate(rng.randint(10, 150), Fault.STOP, LEASE_SECONDS * rng.uniform(1.8, 2.6))
    kill = Fate(rng.randint(60, 250), Fault.KILL)
    return Weather(
        flow=rng.randrange(2),
        shares_memory=rng.random() < 0.5,
        switching=rng.choice((0.2, 0.6)),
        fates=((stop,), (kill,)),
    )


def cancelled(rng: random.Random) -> Weather:
    """Nothing goes wrong, and somebody cancels."""
    return Weather(flow=rng.randrange(2), cancel_after=rng.uniform(0.5, 6.0))


def dying_server(rng: random.Random) -> Weather:
    """The server is killed in the middle of its work, and comes back."""
    return Weather(flow=rng.randrange(2), server=(Fate(rng.randint(10, 60), Fault.KILL, 1.0),))


def stopped_at_its_end(rng: random.Random) -> Weather:
    """Two runners are stopped early, and the third in one of its last reports, so that the run's outcome comes late."""
    reports = (1, 1, rng.randint(20, 30))
    fates = tuple((Fate(report, Fault.STOP, LEASE_SECONDS * 3, "ask report"),) for report in reports)
    return Weather(flow=rng.randrange(2), fates=fates, proofs=0.0)


def killed_unseen(rng: random.Random) -> Weather:
    """The first runner dies, and nobody sees it: its lease decides."""
    return Weather(flow=rng.randrange(2), fates=((Fate(rng.randint(20, 100), Fault.KILL),),), proofs=0.0)
