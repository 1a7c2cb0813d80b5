"""The ticket of a run: the user's signed word that this run was asked for, of this flow, with these parameters. Owns what it
says and where it lies.

Agent and runner verify it before anything of the flow is touched. A run that somebody asked for has a ticket of its own,
signed with the run's key. A schedule has one for all of its runs, signed once with the flow's key: their ids follow from it.
What a server that was taken over can still do is to delay, drop, repeat or cancel what was signed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from playhead.core.names import Name, RunIdField, check_name
from playhead.core.schedule_ids import scheduled_run_id
from playhead.errors import TrustError
from playhead.ports.storage import Storage
from playhead.trust.envelope import Identity
from playhead.trust.keys import DerivedKey
from playhead.trust.objects import Signed, read_signed, write_signed

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class AskedTicket(Signed):
    """Somebody asked for this one run."""

    origin: Literal["asked"] = "asked"
    run: RunIdField
    flow: Name
    seal: Hex
    parameters: bytes  # a payload: the mapping of names to values, defaults filled in
    labels: tuple[Name, ...] = ()


class ScheduleTicket(Signed):
    """A schedule wants a run at each of its times, with these parameters."""

    origin: Literal["schedule"] = "schedule"
    schedule: Hex
    flow: Name
    seal: Hex
    parameters: bytes
    labels: tuple[Name, ...] = ()

    def run_at(self, due_micros: int) -> str:
        """The id of the run that is due then."""
        return scheduled_run_id(self.flow, self.schedule, due_micros)


Ticket = AskedTicket | ScheduleTicket


def read_ticket(
    storage: Storage,
    *,
    run: str,
    flow: str,
    seal: str,
    labels: tuple[str, ...],
    schedule: str | None,
    due_micros: int,
    run_key: DerivedKey,
    flow_key: DerivedKey,
) -> Ticket:
    """The ticket of a run that a server tells of, verified, and compared with what the server says.

    `schedule` is None for a run that somebody asked for. NoSuchObject: nobody signed one. TrustError: it does not fit.
    """
    ticket = (
        read_asked(storage, run, run_key)
        if schedule is None
        else read_schedule(storage, flow, schedule, seal, flow_key)
    )
    check_run(ticket, run=run, flow=flow, seal=seal, labels=labels, due_micros=due_micros)
    return ticket


def write_asked(storage: Storage, ticket: AskedTicket, run_key: DerivedKey) -> None:
    """Put the run's ticket into storage, durable, before the server is asked for the run. The same again does nothing.

    AlreadyExists: the run was asked for with other facts.
    """
    path, identity = _asked(ticket.run)
    write_signed(storage, path, ticket.signed_form(), identity, run_key)


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
    write_signed(storage, path, ticket.signed_form(), identity, flow_key)


def read_schedule(storage: Storage, flow: str, schedule: str, seal: str, flow_key: DerivedKey) -> ScheduleTicket:
    """The schedule's ticket for that seal, verified. NoSuchObject: nobody signed one. TrustError: it is not what was asked for."""
    path, identity = _scheduled(flow, schedule, seal)
    return ScheduleTicket.from_signed_form(read_signed(storage, path, identity, flow_key), str(identity))


def check_run(
    ticket: Ticket, *, run: str, flow: str, seal: str, labels: tuple[str, ...], due_micros: int | None = None
) -> None:
    """Compare what a server says of a run with what was signed. TrustError: they differ; the message names in what.

    `due_micros` is the time that the run was scheduled for; it counts only where a schedule asked for the run.
    """
    if isinstance(ticket, AskedTicket):
        signed_run = ticket.run
    else:
        signed_run = ticket.run_at(due_micros) if due_micros is not None else "one of a scheduled time"
    facts = (
        ("run", run, signed_run),
        ("flow", flow, ticket.flow),
        ("seal", seal, ticket.seal),
        ("labels", _listed(labels), _listed(ticket.labels)),
    )
    wrong = [f"its {name} is {said}, and {signed} was signed" for name, said, signed in facts if said != signed]
    if wrong:
        raise TrustError(
            f"run {run} does not fit its ticket, and nothing of it was loaded: {'; '.join(wrong)}",
            hint="the server says something else than the user signed: ask for the run again, and look into the server",
        )


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(sorted(set(labels))) or "none"


def _asked(run: str) -> tuple[str, Identity]:
    return f"runs/{run}/ticket", Identity.of("ticket", run=run)


def _scheduled(flow: str, schedule: str, seal: str) -> tuple[str, Identity]:
    path = f"flows/{check_name('flow', flow)}/schedules/{schedule}/{seal}"
    return path, Identity.of("schedule's ticket", flow=flow, schedule=schedule, seal=seal)
