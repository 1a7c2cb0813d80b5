"""The ticket of a run: the user's signed word that this run was asked for, of this flow, with these parameters. Owns what it
says and where it lies.

Agent and runner verify it before anything of the flow is touched. A run that somebody asked for has a ticket of its own,
signed with the run's key. A schedule has one for all of its runs, signed once with the flow's key: their ids follow from it and
from its times. So has a preset, whose runs anybody may ask for whom the server lets: their ids follow from it and a nonce.
What a server that was taken over can still do is to delay, drop, repeat or cancel what was signed, and to ask for presets.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final, Literal, assert_never

from pydantic import Field

from playhead.core.events import Schedule
from playhead.core.kinds import Origin
from playhead.core.names import Micros, Name, RunIdField, check_name
from playhead.core.run_ids import preset_run_id, scheduled_run_id
from playhead.errors import TrustError
from playhead.ports.storage import Storage
from playhead.trust.envelope import Identity
from playhead.trust.keys import DerivedKey
from playhead.trust.objects import Signed, read_signed, write_signed

PRESET_ID_BYTES: Final = 16
MAX_EARLY_SECONDS: Final = 3_600  # more than clocks differ that anybody looks after

_LYING: Final = "the server says something else than the user signed: ask for the run again, and look into the server"

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class AskedTicket(Signed):
    """Somebody asked for this one run."""

    origin: Literal["asked"] = "asked"
    run: RunIdField
    flow: Name
    seal: Hex
    parameters: bytes  # a payload: the mapping of names to values, defaults filled in
    labels: tuple[Name, ...] = ()
    not_before: int | None = None  # microseconds since 1970-01-01 UTC; None: at once
    encrypt: bool = False  # whatever the run writes is encrypted, as this ticket is


class ScheduleTicket(Signed):
    """A schedule wants a run at each of its times, with these parameters."""

    origin: Literal["schedule"] = "schedule"
    schedule: Hex
    flow: Name
    seal: Hex
    parameters: bytes
    labels: tuple[Name, ...] = ()
    times: Schedule | None = None  # None: signed by 0.1.0, and good for any time
    encrypt: bool = False

    def run_at(self, due_micros: int) -> str:
        """The id of the run that is due then."""
        return scheduled_run_id(self.flow, self.schedule, due_micros)

    def is_due(self, moment_micros: int) -> bool:
        """Whether that moment is one of the schedule's. BadSchedule: its time zone is not known here."""
        if self.times is None:
            return True
        from playhead.core.schedules import due_after  # brings the arithmetic of cron, of use to no other run

        return due_after(self.times, Micros(moment_micros - 1)) == moment_micros


class PresetTicket(Signed):
    """Whoever asks the server may have runs with these parameters, without the key."""

    origin: Literal["preset"] = "preset"
    preset: Hex
    name: Name
    flow: Name
    seal: Hex
    parameters: bytes
    labels: tuple[Name, ...] = ()
    encrypt: bool = False

    def run_for(self, nonce: str) -> str:
        """The id of the run that was asked for under the nonce."""
        return preset_run_id(self.flow, self.preset, nonce)


Ticket = AskedTicket | ScheduleTicket | PresetTicket


def preset_id(flow_key: DerivedKey, name: str, parameters: bytes, labels: tuple[str, ...]) -> str:
    """The same for the same content, so that a nonce means the same run across registrations; tells nothing without the key."""
    parts = (name.encode(), parameters, *(label.encode() for label in labels))
    content = b"preset id\0" + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hmac.digest(flow_key.secret, content, "sha256")[:PRESET_ID_BYTES].hex()


def read_ticket(
    storage: Storage,
    *,
    run: str,
    flow: str,
    seal: str,
    labels: tuple[str, ...] | None,
    origin: Origin,
    schedule: str | None = None,
    due_micros: int,
    preset: str | None = None,
    nonce: str | None = None,
    run_key: DerivedKey,
    flow_key: DerivedKey,
) -> Ticket:
    """The ticket of a run that a server tells of, verified, and compared with what the server says.

    What the server says decides only which ticket is read. `labels` None: they are not compared, as the reader was told none.
    NoSuchObject: nobody signed one. TrustError: it does not fit.
    """
    match origin, schedule, preset, nonce:
        case Origin.ASKED, None, None, None:
            ticket: Ticket = read_asked(storage, run, run_key)
        case Origin.SCHEDULE, str(), None, None:
            ticket = read_schedule(storage, flow, schedule, seal, flow_key)
        case Origin.PRESET, None, str(), str():
            ticket = read_preset(storage, flow, preset, seal, flow_key)
        case _:
            raise TrustError(
                f"run {run} does not fit any ticket: its origin is {origin}, and what else is told of it belongs to another",
                hint=_LYING,
            )
    check_run(
        ticket,
        run=run,
        flow=flow,
        seal=seal,
        labels=ticket.labels if labels is None else labels,
        due_micros=due_micros,
        nonce=nonce,
    )
    return ticket


def write_asked(storage: Storage, ticket: AskedTicket, run_key: DerivedKey) -> None:
    """Put the run's ticket into storage, durable, before the server is asked for the run. The same again does nothing.

    AlreadyExists: the run was asked for with other facts.
    """
    path, identity = _asked(ticket.run)
    write_signed(storage, path, ticket.signed_form(), identity, run_key, encrypt=ticket.encrypt)


def read_asked(storage: Storage, run: str, run_key: DerivedKey) -> AskedTicket:
    """The run's ticket, verified. NoSuchObject: nobody asked for the run. TrustError: it is not this run's, or was changed."""
    path, identity = _asked(run)
    return AskedTicket.from_signed_form(read_signed(storage, path, identity, run_key), str(identity))


def write_schedule(storage: Storage, ticket: ScheduleTicket, flow_key: DerivedKey) -> None:
    """Put the schedule's ticket for this seal of the flow into storage, durable. The same again does nothing.

    A schedule keeps its id when its flow is sealed anew, and then has one ticket for each seal. AlreadyExists: the schedule has
    other parameters or labels with this seal.
    """
    path, identity = _scheduled(ticket.flow, ticket.schedule, ticket.seal)
    write_signed(storage, path, ticket.signed_form(), identity, flow_key, encrypt=ticket.encrypt)


def read_schedule(storage: Storage, flow: str, schedule: str, seal: str, flow_key: DerivedKey) -> ScheduleTicket:
    """The schedule's ticket for that seal, verified. NoSuchObject: nobody signed one. TrustError: it is not what was asked for."""
    path, identity = _scheduled(flow, schedule, seal)
    return ScheduleTicket.from_signed_form(read_signed(storage, path, identity, flow_key), str(identity))


def write_preset(storage: Storage, ticket: PresetTicket, flow_key: DerivedKey) -> None:
    """Put the preset's ticket for this seal of the flow into storage, durable. The same again does nothing."""
    path, identity = _preset(ticket.flow, ticket.preset, ticket.seal)
    write_signed(storage, path, ticket.signed_form(), identity, flow_key, encrypt=ticket.encrypt)


def read_preset(storage: Storage, flow: str, preset: str, seal: str, flow_key: DerivedKey) -> PresetTicket:
    """The preset's ticket for that seal, verified. NoSuchObject: nobody signed one. TrustError: it is not what was asked for."""
    path, identity = _preset(flow, preset, seal)
    return PresetTicket.from_signed_form(read_signed(storage, path, identity, flow_key), str(identity))


def check_run(
    ticket: Ticket,
    *,
    run: str,
    flow: str,
    seal: str,
    labels: tuple[str, ...],
    due_micros: int | None = None,
    nonce: str | None = None,
) -> None:
    """Compare what a server says of a run with what was signed. TrustError: they differ; the message names in what.

    `due_micros` is the time that the run was scheduled for; it counts only where a schedule asked for the run, and `nonce` only
    where a preset did.
    """
    match ticket:
        case AskedTicket():
            signed_run = ticket.run
        case ScheduleTicket():
            signed_run = ticket.run_at(due_micros) if due_micros is not None else "one of a scheduled time"
        case PresetTicket():
            signed_run = ticket.run_for(nonce) if nonce is not None else "one of a nonce"
        case _:
            assert_never(ticket)
    facts = (
        ("run", run, signed_run),
        ("flow", flow, ticket.flow),
        ("seal", seal, ticket.seal),
        ("labels", _listed(labels), _listed(ticket.labels)),
    )
    wrong = [f"its {name} is {said}, and {signed} was signed" for name, said, signed in facts if said != signed]
    if isinstance(ticket, ScheduleTicket) and due_micros is not None and not ticket.is_due(due_micros):
        wrong.append("its time is none of the schedule's")
    if wrong:
        raise TrustError(
            f"run {run} does not fit its ticket, and nothing of it was loaded: {'; '.join(wrong)}",
            hint=_LYING,
        )


def check_time(ticket: Ticket, *, due_micros: int, now_micros: int) -> None:
    """Refuse a run that is offered long before its time, by this machine's clock. TrustError."""
    not_before = (ticket.not_before or 0) if isinstance(ticket, AskedTicket) else due_micros
    if isinstance(ticket, ScheduleTicket | AskedTicket) and not_before > now_micros + MAX_EARLY_SECONDS * 1_000_000:
        raise TrustError(
            f"the run is offered more than {MAX_EARLY_SECONDS} s before its time, and nothing of it was loaded",
            hint="compare the clocks of this machine and of the server, and look into the server",
        )


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(sorted(set(labels))) or "none"


def _asked(run: str) -> tuple[str, Identity]:
    return f"runs/{run}/ticket", Identity.of("ticket", run=run)


def _preset(flow: str, preset: str, seal: str) -> tuple[str, Identity]:
    path = f"flows/{check_name('flow', flow)}/presets/{preset}/{seal}"
    return path, Identity.of("preset's ticket", flow=flow, preset=preset, seal=seal)


def _scheduled(flow: str, schedule: str, seal: str) -> tuple[str, Identity]:
    path = f"flows/{check_name('flow', flow)}/schedules/{schedule}/{seal}"
    return path, Identity.of("schedule's ticket", flow=flow, schedule=schedule, seal=seal)
