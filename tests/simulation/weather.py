"""The weather of one simulation: which faults happen, and how often. Values, drawn from the seed; faults end before the end."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

from pydantic import TypeAdapter

from tests.simulation.hosts import NAMES
from tests.simulation.network import Losses, Way
from tests.simulation.server import LEASE_SECONDS
from tests.simulation.servers import HOSTS

LONGEST_LIFE: Final = 400  # steps of a runner: where a fault may strike

NO_LOSSES: Final = Losses()
SEVERAL: Final = 0.3  # of the worlds have several servers
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
class Cut:
    """A machine, by its name, is cut off from the server from that moment on for so long."""

    host: str
    at: float
    seconds: float
    way: Way


@dataclass(frozen=True)
class Outage:
    """The store crashes, and is away for so long; or it is for one server, by its host's name."""

    at: float
    seconds: float
    host: str | None = None


@dataclass(frozen=True)
class Weather:
    """`fates[i]` are those of the i-th runner that is launched, `server[i]` those of the i-th life of a server (of several: the first of
    each, then the second of each) and `agents[i]` those of the i-th agent's first; later ones meet none, and nobody does after
    `heals_at`."""

    flows: tuple[int, ...] = (0,)  # of the runs that are asked for
    agents: tuple[tuple[Fate, ...], ...] = ((),)
    fates: tuple[tuple[Fate, ...], ...] = ()
    server: tuple[tuple[Fate, ...], ...] = ()
    heals_at: float = 60.0  # seconds
    shares_memory: bool = True
    switching: float = 0.2
    losses: Losses = NO_LOSSES
    cuts: tuple[Cut, ...] = ()
    failing_flushes: float = 0.0
    losing_workers: float = 0.0
    unknown_commits: float = 0.0
    proofs: float = 1.0  # how likely a death is seen by the agent; otherwise the lease decides
    lost_sight: float = 0.0  # how likely a runner is lost from sight while it lives
    power_fails_at: float | None = None  # seconds
    cancel_after: float | None = None  # seconds
    drains_after: float | None = None  # seconds: the first agent
    every_seconds: int | None = None  # of a schedule
    watchers: int = 0
    deaths_of_watchers: tuple[float, ...] = ()  # seconds, of one after the other
    skews: tuple[float, ...] = ()  # of the runners' clocks, seconds
    servers: int = 1  # if more, on one store that they share
    outages: tuple[Outage, ...] = ()  # of that
    deaf: float = 0.0  # how likely one of several is not told of what another committed

    def __str__(self) -> str:
        """As `parse` reads it; what is as in fine weather is left out."""
        return _form().dump_json(self, exclude_defaults=True).decode()

    @classmethod
    def parse(cls, text: str) -> Weather:
        return _form().validate_json(text)

    @classmethod
    def of(cls, rng: random.Random) -> Weather:
        """Every kind of weather, mostly with a few faults at once."""
        rough = rng.random() < 0.4
        hosts = NAMES[: rng.choice((1, 2, 2))]
        heals_at = rng.uniform(10.0, 30.0)
        servers = rng.choice((2, 3)) if rng.random() < SEVERAL else 1
        return cls(
            flows=rng.choice(((0,), (1,), (0, 2), (1, 2), (2, 2, 2))),
            agents=tuple(_fates_of_agent(rng) for _ in hosts),
            fates=tuple(_fates(rng, most=2 if index < 2 else 1) for index in range(3)),
            server=_fates_of_server(rng) if servers == 1 else _fates_of_servers(rng),
            heals_at=heals_at,
            shares_memory=rng.random() < 0.6,
            switching=rng.choice((0.02, 0.2, 0.6)),
            losses=Losses(
                request=0.1 * rough,
                answer=0.1 * rough,
                doubled=rng.choice((0.0, 0.2)),
                late=0.05 * rough,
                broken=rng.choice((0.0, 0.1)),
            ),
            cuts=_cuts(rng, hosts),
            failing_flushes=rng.choice((0.0, 0.0, 0.03)),
            losing_workers=rng.choice((0.0, 0.1)),
            unknown_commits=rng.choice((0.0, 0.0, 0.1)),
            proofs=rng.choice((0.0, 0.5, 1.0)),
            lost_sight=rng.choice((0.0, 0.0, 0.2)),
            power_fails_at=rng.uniform(1.0, heals_at) if rng.random() < 0.1 else None,
            cancel_after=rng.uniform(0.5, 12.0) if rng.random() < 0.15 else None,
            drains_after=rng.uniform(0.5, 6.0) if len(hosts) > 1 and rng.random() < 0.2 else None,
            every_seconds=rng.randint(6, 12) if rng.random() < 0.3 else None,
            watchers=rng.choice((0, 1, 2)),
            deaths_of_watchers=tuple(rng.uniform(1.0, heals_at) for _ in range(rng.choice((0, 0, 1, 2)))),
            skews=tuple(rng.uniform(-0.5, 0.5) for _ in range(10)),
            servers=servers,
            outages=_outages(rng, servers, heals_at) if servers > 1 else (),
            deaf=rng.choice((0.0, 0.2)) if servers > 1 else 0.0,
        )


@cache
def _form() -> TypeAdapter[Weather]:
    return TypeAdapter(Weather)


def _cuts(rng: random.Random, hosts: tuple[str, ...]) -> tuple[Cut, ...]:
    cuts: list[Cut] = []
    for host in (*hosts, "watchers", "client"):
        if rng.random() < 0.15:
            way = rng.choice((Way.UP, Way.DOWN, Way.BOTH))
            cuts.append(Cut(host, rng.uniform(0.5, 12.0), LEASE_SECONDS * rng.uniform(0.2, 3.0), way))
    return tuple(cuts)


def _fates_of_agent(rng: random.Random) -> tuple[Fate, ...]:
    if rng.random() < 0.6:
        return ()
    fault = rng.choice((Fault.KILL, Fault.KILL, Fault.STOP))
    seconds = LEASE_SECONDS * rng.uniform(0.5, 3.0)
    if rng.random() < 0.5:  # where it takes a runner into its hands, or out of them
        where = rng.choice(("ask claim", "launch", "recorded", "launched", "ask died", "forget", "look for"))
        return (Fate(rng.randint(1, 2), fault, seconds, where),)
    return (Fate(round(math.exp(rng.uniform(0.0, math.log(80)))), fault, seconds),)


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


def _fates_of_server(rng: random.Random) -> tuple[tuple[Fate, ...], ...]:
    lives = rng.choice((0, 0, 1, 1, 2))
    return tuple((_fate_of_server(rng),) for _ in range(lives))


def _fates_of_servers(rng: random.Random) -> tuple[tuple[Fate, ...], ...]:
    """Some struck at what they do beside each other, and others anywhere."""
    return tuple((_fate_of_one(rng),) if rng.random() < 0.5 else () for _ in range(5))


def _fate_of_one(rng: random.Random) -> Fate:
    if rng.random() < 0.5:
        return _fate_of_server(rng)
    where = rng.choice(("lead", "did lead", "leading", "hear", "heard", "commit run.", "did commit run."))
    return Fate(rng.randint(1, 10), rng.choice((Fault.KILL, Fault.STOP)), rng.uniform(0.5, 2 * LEASE_SECONDS), where)


def _outages(rng: random.Random, servers: int, heals_at: float) -> tuple[Outage, ...]:
    hosts = (None, *HOSTS[:servers])
    return tuple(
        Outage(rng.uniform(0.5, heals_at), rng.uniform(0.2, LEASE_SECONDS), rng.choice(hosts))
        for _ in range(rng.choice((0, 0, 1, 2)))
    )


def _fate_of_server(rng: random.Random) -> Fate:
    fault = rng.choice((Fault.KILL, Fault.KILL, Fault.STOP))
    return Fate(round(math.exp(rng.uniform(1.0, math.log(200)))), fault, rng.uniform(0.5, 2 * LEASE_SECONDS))


def stopped_in_an_append(rng: random.Random) -> Weather:
    """The first runner is stopped while it writes, unseen by its agent, and goes on when the second has taken over; that one is killed."""
    where = rng.choice(("append", "half written"))
    stop = Fate(rng.randint(1, LAST_APPEND), Fault.STOP, LEASE_SECONDS * rng.uniform(1.2, 2.0), where)
    kill = Fate(rng.randint(60, 250), Fault.KILL)
    return Weather(
        flows=(rng.randrange(2),),
        shares_memory=rng.random() < 0.5,
        switching=rng.choice((0.2, 0.6)),
        fates=((stop,), (kill,)),
        lost_sight=1.0,
    )


def stopped_and_killed(rng: random.Random) -> Weather:
    """The first runner is stopped anywhere, unseen by its agent, which would kill it, and the second is killed."""
    stop = Fate(rng.randint(10, 150), Fault.STOP, LEASE_SECONDS * rng.uniform(1.8, 2.6))
    kill = Fate(rng.randint(60, 250), Fault.KILL)
    return Weather(
        flows=(rng.randrange(2),),
        shares_memory=rng.random() < 0.5,
        switching=rng.choice((0.2, 0.6)),
        fates=((stop,), (kill,)),
        lost_sight=1.0,
    )


def cancelled(rng: random.Random) -> Weather:
    """Nothing goes wrong, and somebody cancels."""
    return Weather(flows=(rng.randrange(2),), cancel_after=rng.uniform(0.5, 6.0))


def dying_server(rng: random.Random) -> Weather:
    """The server is killed in the middle of its work, and comes back."""
    return Weather(flows=(rng.randrange(2),), server=((Fate(rng.randint(10, 60), Fault.KILL, 1.0),),))


def stopped_at_its_end(rng: random.Random) -> Weather:
    """Two runners are stopped early, and the third in one of its last reports, so that the run's outcome comes late."""
    reports = (1, 1, rng.randint(2, 6))
    fates = tuple((Fate(report, Fault.STOP, LEASE_SECONDS * 3, "ask report"),) for report in reports)
    return Weather(flows=(2,), fates=fates, proofs=0.0, lost_sight=1.0)


def killed_unseen(rng: random.Random) -> Weather:
    """The first runner dies, and nobody sees it: its lease decides."""
    return Weather(flows=(rng.randrange(2),), fates=((Fate(rng.randint(20, 100), Fault.KILL),),), proofs=0.0)


# --- weather for what happens between the processes ---------------------------------------------------------------------------------


def broken_streams(rng: random.Random) -> Weather:
    """Watchers lose their connections, and now and then their lives."""
    losses = Losses(broken=0.3)
    return Weather(flows=(rng.randrange(2),), losses=losses, watchers=3, deaths_of_watchers=(2.0, 3.0))


def unsure_log(rng: random.Random) -> Weather:
    """Commits end without word, and requests come twice."""
    return Weather(flows=(rng.randrange(2),), losses=Losses(doubled=0.3), unknown_commits=0.3)


def killed_unseen_and_restarted(rng: random.Random) -> Weather:
    """The first runner dies, nobody sees it, and the server is killed soon after."""
    runner, server = Fate(rng.randint(20, 100), Fault.KILL), Fate(rng.randint(60, 90), Fault.KILL)
    return Weather(flows=(rng.randrange(2),), fates=((runner,),), server=((server,),), proofs=0.0)


def silent_agent(_: random.Random) -> Weather:
    """An agent is stopped for long when it has claimed, and has launched nothing."""
    return Weather(flows=(0,), agents=((Fate(1, Fault.STOP, 10 * LEASE_SECONDS, "launch"),),))


def killed_agent(rng: random.Random) -> Weather:
    """The agent is killed while its runner lives, and comes back."""
    return Weather(flows=(rng.randrange(2),), agents=((Fate(rng.randint(1, 2), Fault.KILL, where="ask beat"),),))


def drained(rng: random.Random) -> Weather:
    """One of two agents is drained while runs come in, and messages are slow."""
    losses = Losses(late=0.3)
    return Weather(flows=(2, 0, 2, 2, 2), agents=((), ()), losses=losses, drains_after=rng.uniform(0.0, 1.0))


def cancelled_while_stopped(rng: random.Random) -> Weather:
    """The runner is stopped for long, and somebody cancels."""
    stop = Fate(rng.randint(60, 100), Fault.STOP, 20 * LEASE_SECONDS)
    return Weather(flows=(0,), fates=((stop,),), cancel_after=rng.uniform(2.0, 3.0), heals_at=100.0)


def killed_again_and_again(rng: random.Random) -> Weather:
    """One runner after the other is killed."""
    return Weather(flows=(rng.randrange(2),), fates=tuple((Fate(rng.randint(10, 60), Fault.KILL),) for _ in range(6)))


def cut_off_for_long(rng: random.Random) -> Weather:
    """The first runner hears nothing of its server for three leases."""
    cut = Fate(rng.randint(30, 80), Fault.CUT_OFF, 3 * LEASE_SECONDS)
    return Weather(flows=(rng.randrange(2),), fates=((cut,),))


def missed_times(rng: random.Random) -> Weather:
    """A schedule is due while the server is away or stopped."""
    fates = tuple((Fate(rng.randint(20, 60), Fault.STOP, rng.uniform(8.0, 12.0)),) for _ in range(2))
    return Weather(flows=(2,), server=fates, every_seconds=rng.randint(3, 6), heals_at=30.0)


def lost_from_sight(rng: random.Random) -> Weather:
    """Agents lose their runners from sight while these live."""
    return Weather(flows=(rng.randrange(2),), lost_sight=1.0)


def silent_server(rng: random.Random) -> Weather:
    """The server is stopped for longer than a client tries one request."""
    return Weather(flows=(rng.randrange(2),), server=((Fate(rng.randint(5, 30), Fault.STOP, 10 * LEASE_SECONDS),),))


def many_runs(_: random.Random) -> Weather:
    """More runs than there are slots, one after the other."""
    return Weather(flows=(2, 2, 2, 2, 2))


# --- weather for several servers ----------------------------------------------------------------------------------------------------


def long_call(rng: random.Random) -> Weather:
    """A call takes three leases, in which its runner has nothing to tell but that it lives."""
    late = Fate(rng.randint(1, 3), Fault.LATE, 3 * LEASE_SECONDS, "runs ")
    return Weather(flows=(rng.randrange(2),), fates=((late,),), servers=3, heals_at=100.0)


def stopped_for_a_lease(rng: random.Random) -> Weather:
    """A runner wakes when its run was taken back just now, and no server was told of what others committed."""
    stop = Fate(rng.randint(60, 100), Fault.STOP, LEASE_SECONDS * rng.uniform(1.15, 1.35))
    return Weather(flows=(rng.randrange(2),), fates=((stop,),), servers=3, deaf=1.0, lost_sight=1.0, proofs=0.0)


def dying_leader(rng: random.Random) -> Weather:
    """The first that leads is killed as it counts its term up, and so is whoever else does."""
    kill = Fate(rng.randint(2, 4), Fault.KILL, where="lead")
    return Weather(flows=(0, 1), server=tuple((kill,) for _ in range(3)), servers=3, heals_at=30.0)


def leader_cut_off(rng: random.Random) -> Weather:
    """Each server in turn is cut off from the store."""
    outages = tuple(Outage(1.0 + 3.0 * index, rng.uniform(2.0, 3.0), host) for index, host in enumerate(HOSTS * 2))
    return Weather(flows=(0, 1), every_seconds=5, outages=outages, servers=3, heals_at=25.0)


def untold(_: random.Random) -> Weather:
    """No server is told of what the others commit."""
    return Weather(flows=(2,), watchers=3, servers=3, deaf=1.0)
