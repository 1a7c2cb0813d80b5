"""The vocabulary: every event that the log may hold, closed. Owns their fields and how they are written and read.

Past tense, frozen, keyword-only. Once released an event is never edited: a change is a new schema number and an upcaster.
Fields hold names, enums, times, counts, sizes and keyed digests only (BLIND: the server may see all of this file); what
belongs to a record's value (parameters, results, exceptions, log lines) stays in the user's storage and is found by the
reference (epoch, seq) that each runner's event carries in its envelope.

Reserved type names, so that what comes next is an addition: `run.paused`, `run.resumed`, `run.child_started`,
`task.skipped`, `task.cached`, `signal.received`, and streams of kind `limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playhead.core.kinds import CrashReason as CrashReason
from playhead.core.kinds import FactKind as FactKind
from playhead.core.kinds import FailureCategory as FailureCategory
from playhead.core.kinds import LossReason as LossReason
from playhead.core.kinds import Origin as Origin
from playhead.core.kinds import ReleaseReason as ReleaseReason
from playhead.core.kinds import RunEnd as RunEnd
from playhead.core.kinds import SealedBy as SealedBy
from playhead.core.names import FLOW_KEY, Key, Name, RunIdField
from playhead.core.names import MAX_LABELS as MAX_LABELS
from playhead.core.tokens import Scope
from playhead.errors import UnknownEvent

Digest = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]  # 16 bytes, base64url: a record's MAC
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]  # ids of seals, grants, claims, keys and storages
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of a bearer token, which holds 32 random bytes
PythonMinor = Annotated[str, Field(pattern=r"^3\.[0-9]{1,3}$")]
# The last microsecond of the year 9999: later ones cannot be shown as dates
MAX_MOMENT: Final = 253_402_300_799_999_999
MAX_NUMBER: Final = 2**53 - 1  # above it JSON readers lose digits

Moment = Annotated[int, Field(ge=0, le=MAX_MOMENT)]  # microseconds since 1970-01-01 UTC
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Ordinal = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
ExitCode = Annotated[int, Field(ge=-(2**31), le=2**32 - 1)]
Signal = Annotated[int, Field(ge=1, le=128)]
Cron = Annotated[str, Field(pattern=r"^[A-Za-z0-9*/,# -]{1,128}$")]
TimeZone = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")]

MAX_PRESETS: Final = 64  # of one flow: they stand in each of its registrations
UNSEALED: Final = "0" * 32  # in place of a seal's id: an embedded run's code is the calling program's
MAX_WIDTH: Final = 1_000_000  # calls in one map: a state and its view hold each of them
MAX_UPSTREAM: Final = 10_000  # a call's direct upstream keys in one event; a whole map counts as one


class Event(BaseModel):
    """Base of all events. `TYPE` and `SCHEMA` name the class in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    TYPE: ClassVar[str]
    SCHEMA: ClassVar[int] = 1


class Schedule(BaseModel):
    """When a flow runs by itself. `id` is derived from its content, so the same schedule registered twice is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Hex
    cron: Cron | None = None
    tz: TimeZone | None = None
    every_seconds: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None
    anchor: Moment | None = None  # the moment that `every_seconds` counts from


class Preset(BaseModel):
    """A set of parameters for which a run can be asked without the key. `id` stays the same while the parameters do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    id: Hex


# --- flow streams -------------------------------------------------------------------------------------------------


class FlowRegistered(Event):
    """Schema 2 has `presets`; None: those that the newest registration of this seal has, if that is the newest of the flow."""

    TYPE = "flow.registered"
    SCHEMA = 2

    flow: Name
    seal: Hex
    sealed_by: SealedBy
    parameters: tuple[Name, ...] = ()
    tasks: tuple[Name, ...] = ()
    executor: Name
    run_config: Name
    labels: Annotated[tuple[Name, ...], Field(max_length=MAX_LABELS)] = ()
    storage: Hex
    key_id: Hex
    python: PythonMinor | None = None  # only where the code was sealed by value
    schedule: Schedule | None = None
    presets: Annotated[tuple[Preset, ...], Field(max_length=MAX_PRESETS)] | None = None


# --- agent streams -------------------------------------------------------------------------------------------------


class AgentJoined(Event):
    """An agent presents itself. Schema 2 has `universal`: it takes runs that name no infrastructure, as every agent of schema 1 did."""

    TYPE = "agent.joined"
    SCHEMA = 2

    agent: Name
    kind: Name
    labels: Annotated[tuple[Name, ...], Field(max_length=MAX_LABELS)] = ()
    capacity: Ordinal
    storages: tuple[Hex, ...]
    key_ids: tuple[Hex, ...]
    python: PythonMinor
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+-]{1,32}$")]
    universal: bool = True


class AgentDraining(Event):
    TYPE = "agent.draining"


class AgentLeft(Event):
    TYPE = "agent.left"


# --- token streams -------------------------------------------------------------------------------------------------


class TokenCreated(Event):
    """A bearer token counts from now on, until `expires_at`. The same name may be given again once it does not."""

    TYPE = "token.created"

    token: Name
    scope: Scope
    digest: Sha256
    expires_at: Moment


class TokenRevoked(Event):
    TYPE = "token.revoked"


# --- run streams: the server's and agent's facts --------------------------------------------------------------------


class RunEvent(Event):
    """An event of a run's stream."""


class RunScheduled(RunEvent):
    """Schema 2 has `preset_id` and `nonce`, from which the id of a run that was asked for by a preset follows."""

    TYPE = "run.scheduled"
    SCHEMA = 2

    run: RunIdField
    flow: Name
    seal: Hex
    origin: Origin
    schedule_id: Hex | None = None
    scheduled_for: Moment
    executor: Name
    run_config: Name
    labels: Annotated[tuple[Name, ...], Field(max_length=MAX_LABELS)] = ()
    storage: Hex
    key_id: Hex
    python: PythonMinor | None = None
    preset_id: Hex | None = None
    nonce: Hex | None = None


class RunReady(RunEvent):
    TYPE = "run.ready"


class RunClaimed(RunEvent):
    """Granted to an agent. `runner`: the digest of the bearer token by which this epoch's runner is known; schema 1 had none."""

    TYPE = "run.claimed"
    SCHEMA = 2

    agent: Name
    claim: Hex
    epoch: Ordinal
    grant: Hex
    runner: Sha256 | None = None


class RunReleased(RunEvent):
    """The claim went back before the flow's code began; the next claim gets the next epoch. Schemas 2 and 3 know more reasons."""

    TYPE = "run.released"
    SCHEMA = 3

    epoch: Ordinal
    reason: ReleaseReason


class RunStarted(RunEvent):
    """A runner holds the lease of this epoch. Its journal is `runs/<run>/<epoch>-<grant>/` in storage `storage`."""

    TYPE = "run.started"

    epoch: Ordinal
    storage: Hex
    python: PythonMinor
    key_scheme: Ordinal


class RunLost(RunEvent):
    """The runner of this epoch is gone. Schema 2 knows one reason more."""

    TYPE = "run.lost"
    SCHEMA = 2

    epoch: Ordinal
    reason: LossReason
    exit_code: ExitCode | None = None
    signal: Signal | None = None


class RunCancelling(RunEvent):
    TYPE = "run.cancelling"


class RunCrashed(RunEvent):
    TYPE = "run.crashed"

    reason: CrashReason


class RunLate(RunEvent):
    """A flow's outcome that came after the run had ended; kept, and without effect."""

    TYPE = "run.late"

    epoch: Ordinal
    outcome: Name


class RunForgotten(RunEvent):
    """The run's events before this one were removed from the log, or are about to be: `events` of them. What is said here is what is
    left of the run, and enough to refuse whoever still asks for it. Storage keeps what it keeps."""

    TYPE = "run.forgotten"

    run: RunIdField
    flow: Name
    seal: Hex
    origin: Origin
    schedule_id: Hex | None = None
    scheduled_for: Moment
    executor: Name
    run_config: Name
    labels: Annotated[tuple[Name, ...], Field(max_length=MAX_LABELS)] = ()
    storage: Hex
    key_id: Hex
    python: PythonMinor | None = None
    preset_id: Hex | None = None
    nonce: Hex | None = None
    state: RunEnd
    category: FailureCategory | None = None
    task: Key | None = None  # the task whose failure ended the flow, if one did
    crash: CrashReason | None = None
    epoch: Count
    losses: Count = 0
    created_at: Moment
    started_at: Moment | None = None
    ended_at: Moment
    events: Ordinal


# --- run streams: what a runner reports, each from one journal record ----------------------------------------------


class RunnerEvent(RunEvent):
    """An event that a runner reports. `at` is when it happened by the runner's clock."""

    at: Moment


class Cut(BaseModel):
    """How much of an earlier epoch's journal counts: its first `records` records, whose last batch has MAC `mac`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: Ordinal
    batches: Count
    records: Count
    mac: Digest | None = None  # None where nothing of it counts


class JournalAdopted(RunnerEvent):
    """First record of every journal."""

    TYPE = "journal.adopted"

    cuts: tuple[Cut, ...] = ()


class TaskEvent(RunnerEvent):
    key: Key


class TaskSubmitted(TaskEvent):
    """The flow asked for this call. `after`: keys of calls (or of whole maps) whose outcome it needs."""

    TYPE = "task.submitted"

    name: Name
    after: Annotated[tuple[Key, ...], Field(max_length=MAX_UPSTREAM)] = ()


class TaskMapped(TaskEvent):
    """The flow asked for `width` calls at once, `<key>.0` and up. Call i needs `after`, and element i of each of `each`."""

    TYPE = "task.mapped"

    name: Name
    width: Annotated[int, Field(ge=0, le=MAX_WIDTH)]
    after: Annotated[tuple[Key, ...], Field(max_length=MAX_UPSTREAM)] = ()
    each: Annotated[tuple[Key, ...], Field(max_length=MAX_UPSTREAM)] = ()


class TaskStarted(TaskEvent):
    """Handed to the executor."""

    TYPE = "task.started"

    attempt: Ordinal = 1


class TaskSucceeded(TaskEvent):
    TYPE = "task.succeeded"

    attempt: Ordinal = 1
    mac: Digest
    size: Count  # size class of the result: the smallest k with bytes <= 4**k; 0 where the flow hides it


class TaskRetrying(TaskEvent):
    """Attempt `attempt` failed, and the next may begin at `retry_at`."""

    TYPE = "task.retrying"

    attempt: Ordinal = 1
    category: FailureCategory
    mac: Digest
    retry_at: Moment


class TaskFailed(TaskEvent):
    TYPE = "task.failed"

    attempt: Ordinal = 1
    category: FailureCategory
    mac: Digest


class TaskCancelled(TaskEvent):
    TYPE = "task.cancelled"

    attempt: Ordinal = 1


class TaskLost(TaskEvent):
    """A worker died under the call: the infrastructure's loss, not an attempt of the task's. It is started again."""

    TYPE = "task.lost"

    attempt: Ordinal = 1
    exit_code: ExitCode | None = None
    signal: Signal | None = None


class FactRecorded(TaskEvent):
    """The flow asked for something from outside; its value is in the record."""

    TYPE = "fact.recorded"

    kind: FactKind


class TimerSet(TaskEvent):
    TYPE = "timer.set"

    due: Moment


class TimerFired(TaskEvent):
    TYPE = "timer.fired"


class RunOutcome(RunnerEvent):
    """The flow's own end: the journal record of key "/"."""

    KEY: ClassVar[str] = FLOW_KEY


class RunSucceeded(RunOutcome):
    TYPE = "run.succeeded"

    mac: Digest
    size: Count


class RunFailed(RunOutcome):
    TYPE = "run.failed"

    category: FailureCategory
    task: Key | None = None  # the task whose failure ended the flow, if one did
    mac: Digest


class RunCancelled(RunOutcome):
    """Written by the runner, or by the server when no lease is live."""

    TYPE = "run.cancelled"


# --- in and out of the log -------------------------------------------------------------------------------------------

_ALL: tuple[type[Event], ...] = (
    FlowRegistered, AgentJoined, AgentDraining, AgentLeft, TokenCreated, TokenRevoked,
    RunScheduled, RunReady, RunClaimed, RunReleased, RunStarted, RunLost, RunCancelling, RunCrashed, RunLate, RunForgotten,
    JournalAdopted, TaskSubmitted, TaskMapped, TaskStarted, TaskSucceeded, TaskRetrying, TaskFailed, TaskCancelled, TaskLost,
    FactRecorded, TimerSet, TimerFired, RunSucceeded, RunFailed, RunCancelled,
)  # fmt: skip

EVENT_TYPES: Final[Mapping[str, type[Event]]] = {cls.TYPE: cls for cls in _ALL}

# (type, schema) → data of that schema to data of the next.
UPCASTERS: Final[dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    (RunClaimed.TYPE, 1): lambda data: data,  # its runner had no token
    (AgentJoined.TYPE, 1): dict,
    (FlowRegistered.TYPE, 1): dict,  # what came with schema 2 may be absent
    (RunScheduled.TYPE, 1): dict,
    (RunReleased.TYPE, 1): dict,
    (RunReleased.TYPE, 2): dict,
    (RunLost.TYPE, 1): dict,
}


def encode(event: Event) -> dict[str, Any]:
    """The event's fields as JSON types, those at their default left out."""
    return event.model_dump(mode="json", exclude_defaults=True)


def decode(type_name: str, schema: int, data: Mapping[str, Any]) -> Event:
    """The event of that type; older schemas are brought forward. Raises UnknownEvent, and never skips one."""
    cls = EVENT_TYPES.get(type_name)
    if cls is None or schema > cls.SCHEMA or schema < 1:
        raise UnknownEvent(
            f"event type {type_name!r} with schema {schema} is not known to this version of Playhead",
            hint="the log was written by a newer version: upgrade this one to read it",
        )
    fields = data
    for step in range(schema, cls.SCHEMA):
        fields = UPCASTERS[type_name, step](dict(fields))
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        where = ", ".join(sorted({_place(cls, e["loc"]) for e in error.errors(include_input=False)}))
        raise UnknownEvent(f"the fields of an event {type_name!r} do not fit its schema {schema}: {where}") from None


def _place(cls: type[Event], location: tuple[int | str, ...]) -> str:
    """Where it does not fit, in words of ours only: the name of a field that is not ours was chosen by the sender."""
    first = str(location[0]) if location else ""
    return first if first in cls.model_fields else "an unknown field"
