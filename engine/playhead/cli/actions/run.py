"""Running a flow: through a server, or in this process; waiting for its end, with live progress; giving its result."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final, cast

import anyio

from playhead.cli.exits import ExitCode
from playhead.cli.following import run_events
from playhead.cli.given import not_registered, parameters_of
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.progress import picture
from playhead.cli.rendering.tally import Tally
from playhead.cli.rendering.values import result_json, result_page, result_text
from playhead.client.asking import Wish, ask, ask_preset
from playhead.client.client import Client
from playhead.client.flow_run import FlowRun
from playhead.client.loading import is_target, load_target
from playhead.client.registration import register
from playhead.core.names import RunId
from playhead.core.state import RunStatus
from playhead.errors import FlowRunCancelled, FlowRunCrashed, FlowRunFailed, NotFound, PlayheadError, UsageError
from playhead.flows.flow import Flow
from playhead.flows.parameters import check_parameters
from playhead.hosting import connect
from playhead.ports.server import FlowView
from playhead.trust.code import load_code
from playhead.trust.seal import read_seal

PATIENCE_SECONDS: Final = 5.0  # that a run may wait for an agent before a person is told why nothing happens
LAST_FRAME_SECONDS: Final = 5.0  # for the picture of a run in this process, once the run has ended


@dataclass(frozen=True)
class Asked:
    """The command, as it was given."""

    target: str
    parameters: tuple[str, ...] = ()
    watch: bool = False
    wait: bool = True
    embedded: bool = False
    preset: str | None = None
    encrypt: bool = False


def run_flow(asked: Asked, *, home: Path | None, server: str | None, as_json: bool) -> int:
    given = parameters_of(asked.parameters)
    place = Place.of(home, server, encrypt=asked.encrypt)
    url = None if asked.embedded else place.server_url()
    if asked.preset is not None:
        _refuse_beside_preset(asked)
        url = url or place.required_server_url()
    if url is None:
        return _run_here(place, asked, given, as_json=as_json)
    return _run_there(place, url, asked, given, as_json=as_json)


def _refuse_beside_preset(asked: Asked) -> None:
    if asked.parameters or asked.embedded or is_target(asked.target):
        raise UsageError(
            "a preset stands for all parameters of a registered flow, and is asked of a server",
            hint="name the flow as it is registered, without -p and --embedded: playhead run FLOW --preset NAME",
        )


# --- through a server -----------------------------------------------------------------------------------------------


def _run_there(place: Place, url: str, asked: Asked, given: dict[str, str], *, as_json: bool) -> int:
    begun: list[str] = []
    try:
        return asyncio.run(_ask_and_wait(place, url, asked, given, begun, as_json=as_json))
    except KeyboardInterrupt:
        if begun:
            _tell_detached(begun[0])
        return ExitCode.INTERRUPTED


async def _ask_and_wait(
    place: Place, url: str, asked: Asked, given: dict[str, str], begun: list[str], *, as_json: bool
) -> int:
    async with Client(url, home=place.home) as client:
        if asked.preset is not None:
            flow, run = asked.target, await ask_preset(asked.target, asked.preset, client.api)
        else:
            flow, run = await _asked_for(place, client, asked.target, given)
        begun.append(run)
        if not asked.wait:
            _give(run, flow, (await client.run(run, tasks=False)).state, None, as_json=as_json, id_only=True)
            return ExitCode.GOOD
        async with anyio.create_task_group() as tasks:
            if not as_json:
                tasks.start_soon(_tell_if_nobody_comes, client, run)
            await _until_ended(client, run, flow, watch=asked.watch)
            tasks.cancel_scope.cancel()
        return await _give_outcome(FlowRun(run, client), flow, as_json=as_json)


async def _asked_for(place: Place, client: Client, target: str, given: dict[str, str]) -> tuple[str, RunId]:
    """The flow's name, and the id of the run that was asked for."""
    wish = Wish(parameters=given, from_text=True)
    if not is_target(target):
        return target, await ask(await _registered(client, target), client.api, place.home, wish)
    subject = await asyncio.to_thread(load_target, target)
    check_parameters(subject, given, from_text=True)  # before anything is registered for a run that will not be
    view = await register(subject, client.api, place.home)
    return subject.name, await ask(view, client.api, place.home, wish, flow=subject)


async def _until_ended(client: Client, run: str, flow: str, *, watch: bool) -> None:
    if not watch:
        await client.wait(run)
        return
    tally = Tally()
    with picture(stderr(), flow) as shown:
        async for events in run_events(client.api, run):
            tally.feed(events)
            shown.show(tally)


async def _tell_if_nobody_comes(client: Client, run: str) -> None:
    await anyio.sleep(PATIENCE_SECONDS)
    with contextlib.suppress(PlayheadError):
        view = await client.run(run, tasks=False)
        if view.state is RunStatus.READY:
            agents = [agent.agent for agent in await client.agents() if agent.state == "joined"]
            who = f"none of the agents {', '.join(agents)}" if agents else "no agent is there, so nobody"
            stderr().print(f"waiting: {who} has taken run {run} yet (playhead agents)", style="yellow", soft_wrap=True)


async def _give_outcome(run: FlowRun[Any], flow: str, *, as_json: bool) -> int:
    try:
        result: object = await run.result()
    except (FlowRunFailed, FlowRunCancelled, FlowRunCrashed) as error:
        _give_end(error, flow, as_json=as_json)
        raise
    _give(run.id, flow, RunStatus.SUCCEEDED, result, as_json=as_json)
    return ExitCode.GOOD


def _tell_detached(run: str) -> None:
    console = stderr()
    console.print(f"\nleft run {run} to itself; it goes on", soft_wrap=True)
    console.print(f"  playhead show {run}\n  playhead cancel {run}", style="dim", soft_wrap=True)


# --- in this process ---------------------------------------------------------------------------------------------------


def _run_here(place: Place, asked: Asked, given: dict[str, str], *, as_json: bool) -> int:
    from playhead.embedded import run_embedded

    subject = load_target(asked.target) if is_target(asked.target) else asyncio.run(_unsealed(place, asked.target))
    parameters = check_parameters(subject, given, from_text=True)
    begun: Future[RunId] = Future()
    onlooker = _Onlooker(place, subject.name, begun) if asked.watch else contextlib.nullcontext()
    try:
        with onlooker:
            result = run_embedded(subject, parameters, home=place.home, on_started=begun.set_result)
    except (FlowRunFailed, FlowRunCancelled, FlowRunCrashed) as error:
        _give_end(error, subject.name, as_json=as_json)
        raise
    _give(begun.result(), subject.name, RunStatus.SUCCEEDED, result, as_json=as_json)
    return ExitCode.GOOD


async def _unsealed(place: Place, name: str) -> Flow[..., Any]:
    """The registered flow of that name, from its seal in storage, verified before it is loaded."""
    async with place.client() as client:
        view = await _registered(client, name)
    facts = view.registered
    storage = place.home.storage_of(f"flow {name}", facts.storage)
    seal = read_seal(storage, name, facts.seal, place.home.keys.flow_key(name, key_id=facts.key_id))
    subject: Flow[..., Any] | object = load_code(seal, is_flow=lambda found: isinstance(found, Flow))
    assert isinstance(subject, Flow), "a seal holds a flow"
    return cast("Flow[..., Any]", subject)


class _Onlooker:
    """Shows a run of this process, from a thread with a loop of its own: the flow has the main thread."""

    def __init__(self, place: Place, flow: str, begun: Future[RunId]) -> None:
        self._place = place
        self._flow = flow
        self._begun = begun
        self._thread = Thread(target=self._look, name="playhead-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._begun.cancel()  # of a run that never began
        self._thread.join(LAST_FRAME_SECONDS)

    def _look(self) -> None:
        with contextlib.suppress(
            PlayheadError, asyncio.CancelledError, BaseExceptionGroup
        ):  # a picture must not fail a run
            run = self._begun.result()
            asyncio.run(self._watch(run))

    async def _watch(self, run: RunId) -> None:
        async with connect(self._place.home) as api:
            await _until_ended(Client(api, home=self._place.home), run, self._flow, watch=True)


# --- what is printed ---------------------------------------------------------------------------------------------------


def _give(run: str, flow: str, state: RunStatus, result: object, *, as_json: bool, id_only: bool = False) -> None:
    if as_json:
        print_json({"run_id": run, "flow": flow, "state": state.value, "result": result_json(result)})
    elif id_only:
        stdout().print(run, soft_wrap=True)
    elif result is not None:
        console = stdout()
        if console.is_terminal:
            console.print(result_page(result))
        else:
            console.print(result_text(result), soft_wrap=True)


def _give_end(error: FlowRunFailed | FlowRunCancelled | FlowRunCrashed, flow: str, *, as_json: bool) -> None:
    """For programs only: a person reads the error itself."""
    if as_json:
        _give(error.run_id, flow, _ENDS[type(error)], None, as_json=True)


_ENDS: Final[dict[type[PlayheadError], RunStatus]] = {
    FlowRunFailed: RunStatus.FAILED,
    FlowRunCancelled: RunStatus.CANCELLED,
    FlowRunCrashed: RunStatus.CRASHED,
}


async def _registered(client: Client, name: str) -> FlowView:
    try:
        return await client.flow(name)
    except NotFound:
        raise not_registered(name) from None
