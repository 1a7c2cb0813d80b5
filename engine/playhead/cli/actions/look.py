"""The lists of flows and runs; one run, whole; and asking a run to end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playhead.cli.exits import ExitCode
from playhead.cli.moments import micros_since
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.run import failures_page, run_page
from playhead.cli.rendering.steps import Cast, Step, step_json, steps_of, steps_table
from playhead.cli.rendering.tables import flows_table, runs_table
from playhead.client.client import Client
from playhead.client.journals import claims_of
from playhead.client.outcomes import explain
from playhead.client.workers import Workers, workers_of
from playhead.core.names import check_name
from playhead.core.state import RunStatus
from playhead.core.views import ErrorView, RunSummary, RunView
from playhead.errors import StorageError, TrustError, UsageError
from playhead.home import Home
from playhead.ports.server import MAX_PAGE, RunFilter


@dataclass(frozen=True)
class Wanted:
    """Which runs are to be listed, as they were given."""

    states: tuple[str, ...]
    flow: str | None
    since: str | None
    limit: int


def list_flows(*, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            flows = await client.flows()
        if as_json:
            print_json([flow.model_dump(mode="json") for flow in flows])
        elif flows:
            stdout().print(flows_table(flows, _now()))
        else:
            _nothing("no flow is registered yet: playhead register FILE.py:FLOW")
        return ExitCode.GOOD

    return asyncio.run(ask())


def list_runs(wanted: Wanted, *, home: Path | None, server: str | None, as_json: bool) -> int:
    which = RunFilter(
        state=tuple(_status(state) for state in wanted.states),
        flow=None if wanted.flow is None else check_name("flow", wanted.flow),
        since=None if wanted.since is None else micros_since(wanted.since, _now()),
    )

    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            runs = await _newest(client, which, wanted.limit)
            if not runs and which.flow is not None:
                await client.flow(which.flow)  # a flow that nobody knows is an error, and not an empty list
        if as_json:
            print_json([run.model_dump(mode="json") for run in runs])
        elif runs:
            stdout().print(runs_table(runs, _now()))
        else:
            _nothing("no run fits; `playhead runs` without options lists the newest")
        return ExitCode.GOOD

    return asyncio.run(ask())


def show_run(text: str, *, failures: bool, steps: bool, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        place = Place.of(home, server)
        async with place.client() as client:
            run = await client.find_run(text)
            view = await explained(client, await client.run(run), place.home, must=failures)
            told = await _steps(client, view, place.home) if steps else None
        if as_json:
            shown = view if failures else _without_tracebacks(view)
            print_json(run_json(shown, told))
        else:
            _print_run(view, told, failures=failures)
        return ExitCode.GOOD

    return asyncio.run(ask())


def cancel_run(text: str, *, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        async with Place.of(home, server).client() as client:
            run = await client.find_run(text)
            accepted = await client.cancel(run)
        if as_json:
            print_json({"run_id": accepted.run, "state": accepted.state.value})
        else:
            asked = ": its runner has been asked to end" if not accepted.state.terminal else ""
            stdout().print(f"run {run} is {accepted.state}{asked}", soft_wrap=True)
        return ExitCode.GOOD

    return asyncio.run(ask())


def run_json(view: RunView, steps: list[Step] | None = None) -> dict[str, Any]:
    """The shape of `show RUN --json`, and of `replay RUN --json`; with `steps`, what each lane did."""
    shape = view.model_dump(mode="json")
    if steps is not None:
        shape["steps"] = [step_json(step) for step in steps]
    return shape


def _print_run(view: RunView, steps: list[Step] | None, *, failures: bool) -> None:
    console = stdout()
    console.print(run_page(view, _now()))
    if failures:
        console.print()
        console.print(failures_page(view))
    if steps is not None:
        console.print()
        console.print(steps_table(steps))


async def _steps(client: Client, view: RunView, home: Home) -> list[Step]:
    """Who did what. Where the journals cannot be read here, without the names of workers, which the log does not have."""
    history = [event async for event in client.history(view.run_id)]
    agents = {agent.agent: agent for agent in await client.agents()}
    workers: Workers = {}
    with suppress(StorageError, TrustError):
        workers = await asyncio.to_thread(workers_of, view, history, home)
    return steps_of(history, Cast(agents, workers))


async def explained(client: Client, view: RunView, home: Home, *, must: bool) -> RunView:
    """The view with the texts of its failures. Where they cannot be read here, the facts alone, unless they are what was asked for."""
    try:
        claims = await claims_of(client.api, view)
        return await asyncio.to_thread(explain, view, claims, home)
    except (StorageError, TrustError):
        if must:
            raise
        return view


def _without_tracebacks(view: RunView) -> RunView:
    """A thousand tasks that failed alike would be megabytes of the same lines."""
    tasks = tuple(task.model_copy(update={"error": without_traceback(task.error)}) for task in view.tasks)
    return view.model_copy(update={"tasks": tasks, "error": without_traceback(view.error)})


def without_traceback(error: ErrorView | None) -> ErrorView | None:
    return None if error is None else error.model_copy(update={"traceback": None})


async def _newest(client: Client, which: RunFilter, limit: int) -> list[RunSummary]:
    found: list[RunSummary] = []
    page: str | None = None
    while len(found) < limit:
        answer = await client.runs(which, page=page, limit=min(MAX_PAGE, limit - len(found)))
        found.extend(answer.runs)
        page = answer.next
        if page is None:
            break
    return found


def _status(text: str) -> RunStatus:
    try:
        return RunStatus(text.lower())
    except ValueError:
        raise UsageError(f"{text!r} is not a state of a run", hint=f"one of {', '.join(RunStatus)}") from None


def _nothing(hint: str) -> None:
    stderr().print(hint, style="dim", soft_wrap=True)


def _now() -> datetime:
    return datetime.now(UTC)
