"""Events and commands to test the core with: one of each type, and strategies for any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from playhead.core import events as ev
from playhead.core.decide import (
    KEY_SCHEME,
    Cancel,
    Claim,
    Command,
    Lose,
    MakeReady,
    Release,
    Report,
    ScheduleRun,
    Start,
)
from playhead.core.folding import evolve
from playhead.core.lifecycle import Stamp
from playhead.core.names import AgentId, Epoch, Micros, Seq
from playhead.core.state import RunState

RUN = "0" * 31 + "1"
SEAL, STORAGE, KEY_ID, CLAIM, GRANT = "5e" * 8, "57" * 8, "6b" * 8, "c1" * 8, "97" * 8
MAC = "m" * 22
NOW = Micros(1_000_000)


def scheduled(origin: ev.Origin = ev.Origin.ASKED, at: int = 0) -> ev.RunScheduled:
    return ev.RunScheduled(
        run=RUN,
        flow="census",
        seal=SEAL,
        origin=origin,
        scheduled_for=at,
        executor="thread",
        run_config="local",
        storage=STORAGE,
        key_id=KEY_ID,
    )


def claimed(epoch: int = 1) -> ev.RunClaimed:
    return ev.RunClaimed(agent="otter", claim=CLAIM, epoch=epoch, grant=GRANT)


def started(epoch: int = 1) -> ev.RunStarted:
    return ev.RunStarted(epoch=epoch, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME)


def after(*events: ev.Event, state: RunState | None = None) -> RunState:
    """The state after these events; a runner's events are numbered as records of the state's epoch."""
    for event in events:
        epoch = state.head.epoch if state is not None else Epoch(0)
        numbered = isinstance(event, ev.RunnerEvent) and state is not None and state.status.leased
        seq = state.next_seq(epoch) if numbered and state is not None else None
        state = evolve(state, event, Stamp(NOW, epoch if numbered else None, seq))
    assert state is not None
    return state


RUNNING = (scheduled(), ev.RunReady(), claimed(), started())

# What may happen to a run, one of each type.
RUN_EVENTS: tuple[ev.RunEvent, ...] = (
    scheduled(),
    ev.RunReady(),
    claimed(),
    ev.RunReleased(epoch=1, reason=ev.ReleaseReason.LAUNCH_FAILED),
    started(),
    ev.RunLost(epoch=1, reason=ev.LossReason.SIGNALLED, signal=9),
    ev.RunCancelling(),
    ev.RunCrashed(reason=ev.CrashReason.LOSSES),
    ev.RunLate(epoch=1, outcome="run.succeeded"),
    ev.RunSucceeded(at=5, mac=MAC, size=1),
    ev.RunFailed(at=5, category=ev.FailureCategory.RAISED, mac=MAC),
    ev.RunCancelled(at=5),
)


def task_events(key: str, attempt: int = 1) -> tuple[ev.TaskEvent, ...]:
    """What may happen to a task run, one of each type."""
    return (
        ev.TaskSubmitted(at=1, key=key, name="parse"),
        ev.TaskStarted(at=2, key=key, attempt=attempt),
        ev.TaskSucceeded(at=3, key=key, attempt=attempt, mac=MAC, size=2),
        ev.TaskRetrying(at=3, key=key, attempt=attempt, category=ev.FailureCategory.RAISED, mac=MAC, retry_at=9),
        ev.TaskFailed(at=3, key=key, attempt=attempt, category=ev.FailureCategory.RAISED, mac=MAC),
        ev.TaskCancelled(at=3, key=key, attempt=attempt),
        ev.TaskLost(at=3, key=key, attempt=attempt, exit_code=1),
    )


KEYS = ("parse", "parse~2", "parse.0", "parse.1", "page", "page.0")


@st.composite
def runner_events(draw: st.DrawFn) -> ev.RunnerEvent:
    """An event of a small world of keys, so that many sequences are legal and many are not."""
    key = draw(st.sampled_from(KEYS))
    attempt = draw(st.integers(1, 3))
    others = (
        ev.TaskMapped(at=1, key=key, name="parse", width=draw(st.integers(0, 3))),
        ev.FactRecorded(at=1, key=key, kind=ev.FactKind.NOW),
        ev.TimerSet(at=1, key=key, due=4),
        ev.TimerFired(at=1, key=key),
        ev.JournalAdopted(at=1),
        ev.RunSucceeded(at=5, mac=MAC, size=1),
        ev.RunFailed(at=5, category=ev.FailureCategory.RAISED, mac=MAC),
        ev.RunCancelled(at=5),
    )
    # Ends are rare, else no sequence gets far.
    weighted = (*task_events(key, attempt) * 4, *task_events(key) * 4, *others[:5] * 3, *others[5:])
    return draw(st.sampled_from(weighted))


@dataclass(frozen=True)
class Recipe:
    """A command to be made for whatever state it will meet. Mostly it fits that state; each flag makes it misfit."""

    kind: type[Command]
    number: int
    other_epoch: bool
    other_grant: bool
    other_seq: bool
    events: tuple[ev.RunnerEvent, ...]


KINDS = (ScheduleRun, MakeReady, Cancel, Release, Lose, *[Claim] * 3, *[Start] * 4, *[Report] * 8)
_SELDOM = st.sampled_from([False] * 9 + [True])

RECIPES = st.builds(
    Recipe,
    kind=st.sampled_from(KINDS),
    number=st.integers(0, 9),
    other_epoch=_SELDOM,
    other_grant=_SELDOM,
    other_seq=_SELDOM,
    events=st.lists(runner_events(), min_size=1, max_size=3).map(tuple),
)


def command_of(recipe: Recipe, state: RunState | None) -> Command:
    number, now = recipe.number, Micros(recipe.number * 200_000)
    head = state.head if state is not None else None
    epoch = Epoch(number) if recipe.other_epoch or head is None else head.epoch
    grant = GRANT if recipe.other_grant or head is None or head.grant is None else head.grant
    claim = CLAIM if recipe.other_grant or head is None or head.claim is None else head.claim
    seq = Seq(number - 1) if recipe.other_seq or state is None else state.next_seq(epoch)
    if recipe.kind is ScheduleRun:
        return ScheduleRun(scheduled=scheduled(at=1_000_000 * (number % 2)), now=now)
    if recipe.kind is MakeReady:
        return MakeReady(now=now)
    if recipe.kind is Claim:
        fresh = f"{(head.epoch if head else 0) + 1:08x}"
        return Claim(
            agent=AgentId("otter"), claim=claim if recipe.other_seq else fresh, grant=f"{number:08x}{fresh}", now=now
        )
    if recipe.kind is Release:
        return Release(claim=claim, epoch=epoch, reason=list(ev.ReleaseReason)[number % 5], now=now)
    if recipe.kind is Start:
        return Start(epoch=epoch, grant=grant, storage=STORAGE, python="3.11", key_scheme=KEY_SCHEME, now=now)
    if recipe.kind is Report:
        return Report(epoch=epoch, grant=grant, origin=epoch, first_seq=seq, events=recipe.events, now=now)
    if recipe.kind is Lose:
        return Lose(epoch=epoch, reason=list(ev.LossReason)[number % len(ev.LossReason)], now=now)
    return Cancel(now=now)


def fields_of(cls: type[ev.Event]) -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON that fits the type's schema."""
    schema = cls.model_json_schema()
    return _matching(schema, schema.get("$defs", {}))


def _matching(node: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in node:
        return _matching(defs[node["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in node:
        return st.one_of([_matching(part, defs) for part in node["anyOf"]])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node["type"]:
        case "string":
            pattern: str = node["pattern"]
            return st.from_regex(pattern.removesuffix("$") + r"\Z")
        case "integer":
            return st.integers(node["minimum"], node["maximum"])
        case "array":
            return st.lists(_matching(node["items"], defs), max_size=3)
        case "object":
            properties: dict[str, Any] = node.get("properties", {})
            required: Sequence[str] = node.get("required", ())
            return st.fixed_dictionaries(
                {name: _matching(part, defs) for name, part in properties.items() if name in required},
                optional={name: _matching(part, defs) for name, part in properties.items() if name not in required},
            )
        case "boolean":
            return st.booleans()
        case _:
            return st.none()
