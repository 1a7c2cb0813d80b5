"""Every method of the port crosses HTTP unchanged, and so does every error of the tree."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from playhead import errors as e
from playhead.client.http import HttpServer
from playhead.core.events import ReleaseReason
from playhead.core.state import RunStatus
from playhead.core.tokens import Scope
from playhead.errors import NotFound, PlayheadError, ServerRefused
from playhead.ports import server as port
from playhead.ports.store import Recorded
from playhead.wire import ERROR_TYPES
from tests.server.scripted import (
    ACCEPTED,
    AGENT,
    CLAIMED,
    FLOW,
    HEX,
    JOINED,
    REGISTERED,
    REPORTED,
    RUN,
    SCHEDULED,
    STARTED,
    TOKEN,
    ScriptedApi,
    recorded,
    view,
    waiting,
)
from tests.server.serving import Road, connected

START = port.StartRequest(epoch=1, grant=HEX, storage=HEX, python="3.11", key_scheme=1)
REPORT = port.ReportRequest(
    epoch=2, grant=HEX, origin=1, first_seq=4, events=(("task.started", 1, {"at": 5, "key": "fetch~2", "attempt": 2}),)
)
EMBEDDED = port.EmbeddedRunRequest(scheduled=SCHEDULED, agent="here", claim=HEX, grant=HEX, python="3.11", key_scheme=1)
FILTER = port.RunFilter(
    state=(RunStatus.FAILED, RunStatus.CRASHED), flow="crawl", agent="brisk-otter", since=5, prefix="0123"
)
ASKED = port.RunRequest(run=RUN, flow="crawl", seal=HEX, at=9, labels=("gpu", "big"))
RECONCILE = port.ReconcileRequest(journals=(port.FoundJournal(epoch=3, grant=HEX),), python="3.11")
PRESET = port.PresetRequest(flow="crawl", preset="nightly", nonce=HEX, at=9)
DIED = port.DiedRequest(epoch=1, signal=9)
RELEASED = port.ReleaseRequest(claim=HEX, epoch=1, reason=ReleaseReason.DRAINING)
HEARTBEAT = port.HeartbeatRequest(epoch=1, grant=HEX)
CLAIM = port.ClaimRequest(agent="brisk-otter", claim=HEX)
HELLO = port.AgentHello(joined=JOINED)
TOKEN_ASKED = port.TokenRequest(name="ci", scope=Scope.CLIENT, digest="0f" * 32, lifetime_seconds=60)

# method: (arguments, keyword arguments, what the other side is asked, what it answers)
METHODS: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...], Any]] = {
    "info": ((), {}, (), port.ServerInfo(version="0.1.0", log_id="log", position=0, cursor="0", now=1, lease_seconds=15.0)),
    "register_flow": ((REGISTERED,), {}, (REGISTERED,), FLOW),
    "flows": ((), {"after": 3}, (3,), (FLOW, FLOW)),
    "flow": (("crawl",), {"after": 3}, ("crawl", 3), FLOW),
    "ask_run": ((ASKED,), {}, (ASKED,), ACCEPTED),
    "ask_preset": ((PRESET,), {}, (PRESET,), ACCEPTED),
    "begin_embedded": ((EMBEDDED,), {}, (EMBEDDED,), ACCEPTED),
    "runs": ((FILTER,), {"page": "12", "limit": 7, "after": 3}, (FILTER, "12", 7, 3), None),
    "run": ((RUN,), {"at": 2, "tasks": False, "after": 3}, (RUN, 2, False, 3), view()),
    "why": ((RUN,), {"task": "fetch", "after": 3}, (RUN, "fetch", 3), waiting()),
    "cancel": ((RUN,), {}, (RUN,), ACCEPTED),
    "reconcile": ((RUN, RECONCILE), {}, (RUN, RECONCILE), ACCEPTED),
    "join": ((HELLO,), {}, (HELLO,), None),
    "agent_beat": (("brisk-otter",), {}, ("brisk-otter",), None),
    "drain": (("brisk-otter",), {}, ("brisk-otter",), None),
    "leave": (("brisk-otter",), {}, ("brisk-otter",), None),
    "agents": ((), {"after": 3}, (3,), (AGENT,)),
    "claim": ((RUN, CLAIM), {}, (RUN, CLAIM), CLAIMED),
    "release": ((RUN, RELEASED), {}, (RUN, RELEASED), None),
    "died": ((RUN, DIED), {}, (RUN, DIED), None),
    "start": ((RUN, START), {}, (RUN, START), STARTED),
    "heartbeat": ((RUN, HEARTBEAT), {}, (RUN, HEARTBEAT), port.Beat(lease_seconds=15.0, cancelling=True)),
    "report": ((RUN, REPORT), {}, (RUN, REPORT), REPORTED),
    "create_token": ((TOKEN_ASKED,), {}, (TOKEN_ASKED,), TOKEN),
    "tokens": ((), {}, (), (TOKEN,)),
    "revoke_token": (("ci",), {}, ("ci",), TOKEN),
}  # fmt: skip
STREAMS = {"history", "events"}  # tried on their own

ERRORS: list[PlayheadError] = [
    e.NotFound("run", RUN, hint="look"),  # the server leaves the name out, and the client puts it in again
    e.FlowRunFailed(RUN, "fetch", ValueError("no")),
    e.FlowRunCancelled(RUN),
    e.FlowRunCrashed(RUN, "losses"),
    e.WrongVersion("default/run/x", 3, 5),
    e.AppendMismatch("default/run/x", "r.1.0"),
    e.IllegalEvent("not now", story=("run.scheduled", "run.ready")),
    e.Diverged("other work", task_key="fetch"),
    e.InfrastructureLost("gone", exit_code=3),
    e.Refused("it is running", code="not_ready", hint="wait"),
    e.ServerRefused("no", code="some_word", status=418),
    e.Unauthenticated("no", code="token_ended", hint="another"),
    e.Forbidden("no", scopes=("client", "admin")),
]


def test_the_table_is_the_whole_port() -> None:
    methods = {name for name, _ in inspect.getmembers(port.ServerApi, inspect.isfunction) if not name.startswith("_")}
    assert set(METHODS) | STREAMS == methods


@pytest.mark.parametrize("road", ["tcp", "unix"])
async def test_every_method_crosses_unchanged(road: Road, tmp_path: Path) -> None:
    api = ScriptedApi()
    async with connected(api, road=road, folder=tmp_path) as http:
        for name, (arguments, keywords, asked, answered) in METHODS.items():
            answer = await getattr(http, name)(*arguments, **keywords)
            assert api.calls.pop() == (name, asked)
            assert answered is None or answer == answered, name
        assert not api.calls  # one request each


async def test_a_history_crosses_whole_and_from_a_version() -> None:
    api = ScriptedApi()
    await api.add(*(recorded(position) for position in range(1, 1_001)))
    async with connected(api) as http:
        assert [event async for event in http.history(RUN)] == api.log
        assert [event async for event in http.history(RUN, after_version=998)] == api.log[998:]
        assert [event async for event in http.history(RUN, after_version=1_000)] == []


async def test_every_error_arrives_as_the_class_it_was() -> None:
    plain = [cls for cls in ERROR_TYPES.values() if not any(type(known) is cls for known in ERRORS)]
    errors = ERRORS + [cls(f"a {cls.__name__}", hint="do this") for cls in plain if cls is not e.ServerUnreachable]
    api = ScriptedApi()
    async with connected(api) as http:
        for error in errors:
            api.fails = error
            with pytest.raises(PlayheadError) as raised:
                await http.cancel(RUN)
            arrived = raised.value
            assert type(arrived) is type(error)
            assert (str(arrived), arrived.code, arrived.hint) == (str(error), error.code, error.hint)
            assert vars(arrived) == vars(error)


async def test_an_error_before_a_history_and_in_its_middle_arrives_as_its_class() -> None:
    class Breaking(ScriptedApi):
        async def history(self, run: str, *, after_version: int = 0):  # type: ignore[no-untyped-def]  # the port's type
            if not self.log:
                raise NotFound("run", run)
            for event in self.log:
                yield event
            raise e.LogUnusable("the disk went away")

    api = Breaking()
    async with connected(api) as http:
        with pytest.raises(NotFound):
            await anext(http.history(RUN))
        await api.add(*(recorded(position) for position in range(1, 701)))
        seen: list[Recorded] = []
        with pytest.raises(e.LogUnusable, match="the disk went away"):
            async for event in http.history(RUN):
                seen.append(event)  # noqa: PERF401 — a comprehension would lose what came before the error
        assert seen == api.log[: 2 * 256]  # what was written before it broke off


async def test_an_error_class_of_somebody_else_arrives_as_its_nearest_base() -> None:
    class TooManyGpus(e.Refused):
        pass

    api = ScriptedApi()
    api.fails = TooManyGpus("there are only eight", code="gpus")
    async with connected(api) as http:
        with pytest.raises(e.Refused) as raised:
            await http.info()
    assert type(raised.value) is e.Refused
    assert raised.value.code == "gpus"


async def test_what_nobody_foresaw_is_refused_without_its_text() -> None:
    api = ScriptedApi()
    api.fails = ZeroDivisionError("CANARY")
    async with connected(api) as http:
        with pytest.raises(ServerRefused) as raised:
            await http.info()
    assert (raised.value.code, raised.value.status) == ("internal", 500)
    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "a/b", "../info", "ü", "x" * 65, "a b", "a?b", "a\n"])
async def test_a_name_that_no_server_can_know_is_not_asked_for(name: str) -> None:
    api = ScriptedApi()
    async with connected(api) as http:
        for ask in (http.run, http.flow, http.cancel, http.leave):
            with pytest.raises(NotFound):
                await ask(name)
    assert not api.calls


async def test_a_client_that_is_not_open_says_so() -> None:
    http = HttpServer("http://127.0.0.1:9")
    with pytest.raises(e.UsageError, match="async with"):
        await http.info()
