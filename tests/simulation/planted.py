"""Planted bugs within a runner, and between it and its server: each a small change of the real code that breaks one rule, as somebody
might once write it.

A plant names what it replaces, and fails if that is not there any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from playhead.core import decide, folding
from playhead.core import events as ev
from playhead.core.decide import Decision, Report
from playhead.core.events import FactKind
from playhead.core.lifecycle import RUN_TRANSITIONS, Stamp
from playhead.core.names import Position, Seq, TaskKey, run_stream
from playhead.core.state import RunState, RunStatus
from playhead.errors import WrongVersion
from playhead.journal.format import Record
from playhead.journal.place import JournalPlace
from playhead.journal.reader import Journal
from playhead.journal.writer import JournalWriter
from playhead.runner import recall
from playhead.runner.calls import Call, Stage
from playhead.runner.launcher import Launcher
from playhead.runner.session import FlowSession
from playhead.service.commands import Done, RunCommands
from playhead.service.leases import Ended, Leases
from tests.simulation.disk import DiskView, Stored


def no_fence_check(patch: pytest.MonkeyPatch) -> None:
    """The runner does not look for a fence after it wrote."""
    put_in_place(patch, JournalWriter, "_check_fence", nothing)


def no_adopted_cut(patch: pytest.MonkeyPatch) -> None:
    """A successor takes all that is in its predecessors' journals, whatever others adopted of them before."""

    def whole(journals: Sequence[Journal]) -> list[ev.Cut]:
        return [recall._whole(journal) for journal in journals]  # pyright: ignore[reportPrivateUsage]  # the bug is a change inside

    put_in_place(patch, recall, "_cuts", whole)


def reused_blob_name(patch: pytest.MonkeyPatch) -> None:
    """A large result is named by its task and attempt alone, and written as most stores write: over what is there."""

    def blob(place: JournalPlace, key: TaskKey, attempt: int, nonce: str) -> str:
        return f"runs/{place.run}/blobs/{key.replace('/', '=')}-{attempt}"

    exclusively = DiskView.create_if_absent

    def put(view: DiskView, path: str, data: bytes) -> None:
        if "/blobs/" not in path:
            return exclusively(view, path, data)
        view.step(f"put {path}")
        view.disk.objects[path] = Stored(bytearray(data), len(data))
        return view.step(f"was put {path}")

    put_in_place(patch, JournalPlace, "blob", blob)
    put_in_place(patch, DiskView, "create_if_absent", put)


def reused_blob_name_on_a_careful_storage(patch: pytest.MonkeyPatch) -> None:
    """The same names, on a storage that refuses to write over an object."""

    def blob(place: JournalPlace, key: TaskKey, attempt: int, nonce: str) -> str:
        return f"runs/{place.run}/blobs/{key.replace('/', '=')}-{attempt}"

    put_in_place(patch, JournalPlace, "blob", blob)


def launch_before_catch_up(patch: pytest.MonkeyPatch) -> None:
    """Calls start as soon as the flow asks for them, also while it is being given what was recorded."""
    init = Launcher.__init__

    def opened(launcher: Launcher, *args: Any) -> None:
        init(launcher, *args)
        launcher.open_gate()

    put_in_place(patch, Launcher, "__init__", opened)


def version_as_precondition(patch: pytest.MonkeyPatch) -> None:
    """A runner's batch fits only the version that the runner saw last, as an append to a stream does elsewhere."""
    report, carry_out = RunCommands.report, RunCommands.carry_out
    seen: dict[int, int] = {}  # epoch → version of the newest answer

    async def strict(commands: RunCommands, run: str, command: Report) -> Done:
        expected = seen.get(command.epoch)
        if expected is not None:
            state = await commands.leased(run, command.epoch, command.grant)
            if state.version != expected and command.first_seq >= state.next_seq(command.origin):
                raise WrongVersion(run_stream(run), expected, state.version)
        done = await report(commands, run, command)
        seen[command.epoch] = done.state.version
        return done

    async def started(commands: RunCommands, run: str, command: Any, *, append_id: str, actor: str) -> Done:
        done = await carry_out(commands, run, command, append_id=append_id, actor=actor)
        if append_id.startswith("start."):
            seen[done.state.head.epoch] = done.state.version
        return done

    put_in_place(patch, RunCommands, "report", strict)
    put_in_place(patch, RunCommands, "carry_out", started)


def counts_before_it_writes(patch: pytest.MonkeyPatch) -> None:
    """A record is reported, and used, before its batch is durable."""
    write, count = JournalWriter._write, JournalWriter._count  # pyright: ignore[reportPrivateUsage]  # as above

    def counted_first(writer: JournalWriter, records: Sequence[Record]) -> None:
        count(writer, records)
        write(writer, records)

    put_in_place(patch, JournalWriter, "_write", counted_first)
    put_in_place(patch, JournalWriter, "_count", nothing)


def forgets_what_completed(patch: pytest.MonkeyPatch) -> None:
    """A successor delivers recorded outcomes, and starts their calls all the same."""

    def add(launcher: Launcher, call: Call, needs: tuple[Call, ...]) -> None:
        call.recorded = False
        call.stage = Stage.WAITING
        real(launcher, call, needs)

    real = Launcher._add  # pyright: ignore[reportPrivateUsage]  # as above
    put_in_place(patch, Launcher, "_add", add)


def draws_facts_anew(patch: pytest.MonkeyPatch) -> None:
    """A resumed flow is told the time and given random numbers as if nobody had asked before."""

    def fact(session: FlowSession, kind: FactKind, make: Callable[[], Any]) -> Any:
        real(session, kind, make)
        return make()

    real = FlowSession.fact
    put_in_place(patch, FlowSession, "fact", fact)


def answers_before_it_appends(patch: pytest.MonkeyPatch) -> None:
    """The server acknowledges a batch while the append is still under way."""
    report = RunCommands.report
    under_way: set[asyncio.Task[Done]] = set()

    async def hasty(commands: RunCommands, run: str, command: Report) -> Done:
        state = await commands.leased(run, command.epoch, command.grant)
        task = asyncio.create_task(report(commands, run, command))
        under_way.add(task)
        return Done(state, Position(0))

    put_in_place(patch, RunCommands, "report", hasty)


def late_outcomes_win(patch: pytest.MonkeyPatch) -> None:
    """What a runner says of its run's end is believed, even if the run had been ended without it."""

    def late(state: RunState, command: Report) -> Decision:
        after = state
        for index, event in enumerate(command.events):
            after = folding.evolve(after, event, Stamp(command.now, command.origin, Seq(command.first_seq + index)))
        return Decision(tuple(command.events), after)

    transitions: dict[Any, RunStatus] = dict(RUN_TRANSITIONS)
    patch.setattr("playhead.core.folding.RUN_TRANSITIONS", transitions)
    for status in RunStatus:
        if status.terminal:
            patch.setitem(transitions, (status, ev.RunSucceeded), RunStatus.SUCCEEDED)
    put_in_place(patch, decide, "_late", late)


def sweeps_never(patch: pytest.MonkeyPatch) -> None:
    """Leases do not end by themselves."""
    put_in_place(patch, Leases, "ended", _none)


def put_in_place(patch: pytest.MonkeyPatch, where: Any, name: str, by: Callable[..., Any]) -> None:
    """Replace what is there by the bug."""
    assert callable(getattr(where, name)), (
        f"{where.__name__} has no {name} any more: plant the bug where its rule is now"
    )
    patch.setattr(where, name, by)


def nothing(*_: object) -> None:
    """In place of what the bug leaves out."""


def _none(*_: object) -> list[Ended]:
    return []
