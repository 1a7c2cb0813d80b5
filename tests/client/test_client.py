"""What `Client` makes of several requests: waiting for a run's end, and finding the run that is meant."""

from __future__ import annotations

import asyncio

import pytest

from playhead.client.client import MAX_CANDIDATES, Client
from playhead.core import events as ev
from playhead.core.state import RunStatus
from playhead.errors import NotFound, ServerUnreachable, UsageError
from playhead.ports.server import RunFilter, RunPage
from tests.client.test_transport import free_port
from tests.server.scripted import RUN, ScriptedApi, recorded, summary, view
from tests.server.serving import QUICK, serving, until

OTHER = "f" * 32


def page(*runs: str) -> RunPage:
    return RunPage(runs=tuple(summary(run) for run in runs), next=None, position=1)


async def test_waiting_for_a_run_that_has_ended_asks_once_more_for_all_of_it() -> None:
    api = ScriptedApi()
    api.answers["run"] = view(RunStatus.SUCCEEDED)
    async with Client(api) as client:
        assert (await client.wait(RUN)).state is RunStatus.SUCCEEDED
    assert [method for method, _ in api.calls] == ["info", "run", "run"]


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (ev.RunSucceeded(at=1, mac="A" * 22, size=1), RunStatus.SUCCEEDED),
        (ev.RunFailed(at=1, mac="A" * 22, category=ev.FailureCategory.RAISED), RunStatus.FAILED),
        (ev.RunCancelled(at=1), RunStatus.CANCELLED),
        (ev.RunCrashed(reason=ev.CrashReason.LOSSES), RunStatus.CRASHED),
    ],
)
async def test_waiting_follows_the_log_and_does_not_poll(event: ev.Event, state: RunStatus) -> None:
    api = ScriptedApi()
    async with Client(api) as client:
        waiting = asyncio.create_task(client.wait(RUN))
        await until(lambda: api.subscriptions)
        for position in range(1, 101):
            await api.add(recorded(position))
        api.answers["run"] = view(state)
        await api.add(recorded(101, event=event))
        assert (await waiting).state is state
    assert [method for method, _ in api.calls] == ["info", "run", "events", "run"]
    assert api.calls[-1][1] == (RUN, None, True, 101)
    assert api.subscriptions == 0


async def test_an_end_between_the_look_and_the_stream_is_seen() -> None:
    class Ending(ScriptedApi):
        async def run(self, run, *, at=None, tasks=True, after=0):  # type: ignore[no-untyped-def]  # the port's type
            seen = await super().run(run, at=at, tasks=tasks, after=after)
            if not self.log:
                self.answers["run"] = view(RunStatus.CANCELLED)
                await self.add(recorded(1, event=ev.RunCancelled(at=1)))
            return seen

    async with Client(Ending()) as client:
        assert (await client.wait(RUN)).state is RunStatus.CANCELLED


async def test_waiting_survives_a_restart_of_the_server() -> None:
    api, port = ScriptedApi(), free_port()
    async with Client(f"http://127.0.0.1:{port}", patience=QUICK) as client:
        async with serving(api, port=port):
            waiting = asyncio.create_task(client.wait(RUN))
            await until(lambda: api.subscriptions)
        api.answers["run"] = view(RunStatus.FAILED)
        await api.add(recorded(1, event=ev.RunFailed(at=1, mac="A" * 22, category=ev.FailureCategory.RAISED)))
        async with serving(api, port=port):
            assert (await waiting).state is RunStatus.FAILED


async def test_a_server_that_is_away_for_the_last_look_is_waited_for() -> None:
    class Away(ScriptedApi):
        failures = 20

        async def run(self, run, *, at=None, tasks=True, after=0):  # type: ignore[no-untyped-def]  # the port's type
            seen = await super().run(run, at=at, tasks=tasks, after=after)
            if after and self.failures:
                self.failures -= 1
                raise ServerUnreachable("away")
            return seen

    api = Away()
    async with Client(api, patience=QUICK) as client:
        waiting = asyncio.create_task(client.wait(RUN))
        await until(lambda: api.subscriptions)
        api.answers["run"] = view(RunStatus.CANCELLED)
        await api.add(recorded(1, event=ev.RunCancelled(at=1)))
        assert (await waiting).state is RunStatus.CANCELLED


async def test_waiting_without_a_server_is_an_error_at_once() -> None:
    async with Client(f"http://127.0.0.1:{free_port()}", patience=QUICK) as client:
        with pytest.raises(ServerUnreachable):
            await client.wait(RUN)


@pytest.mark.parametrize(
    ("text", "asked", "limit"),
    [
        ("@last", RunFilter(), 1),
        ("@last-failed", RunFilter(state=(RunStatus.FAILED, RunStatus.CRASHED)), 1),
        ("crawl@last", RunFilter(flow="crawl"), 1),
        ("a.b-c_1@last", RunFilter(flow="a.b-c_1"), 1),
        ("crawl@last-failed", RunFilter(flow="crawl", state=(RunStatus.FAILED, RunStatus.CRASHED)), 1),
        ("0123", RunFilter(prefix="0123"), MAX_CANDIDATES + 1),
        ("0123ABC", RunFilter(prefix="0123abc"), MAX_CANDIDATES + 1),
    ],
)
async def test_a_run_is_found_with_one_request(text: str, asked: RunFilter, limit: int) -> None:
    api = ScriptedApi()
    async with Client(api) as client:
        assert await client.find_run(text) == RUN
        assert api.calls == [("runs", (asked, None, limit, 0))]
        api.answers["runs"] = page()
        with pytest.raises(NotFound, match=text) as raised:
            await client.find_run(text)
    assert "playhead runs" in (raised.value.hint or "")


async def test_a_whole_id_is_not_looked_up() -> None:
    api = ScriptedApi()
    async with Client(api) as client:
        assert await client.find_run(RUN.upper()) == RUN
    assert not api.calls


@pytest.mark.parametrize(
    "text", ["", "@", "@first", "last", "xyz", "0123 4", "a b@last", "@last@last", "0" * 33, "@last\n"]
)
async def test_what_names_no_run_is_a_usage_error(text: str) -> None:
    api = ScriptedApi()
    async with Client(api) as client:
        with pytest.raises(UsageError, match="does not name a run"):
            await client.find_run(text)
    assert not api.calls


async def test_a_prefix_of_several_lists_them() -> None:
    api = ScriptedApi()
    api.answers["runs"] = page(RUN, OTHER)
    async with Client(api) as client:
        with pytest.raises(UsageError, match="several runs begin with '0'") as raised:
            await client.find_run("0")
        assert RUN in str(raised.value)
        assert OTHER in str(raised.value)
        assert "more" not in str(raised.value).splitlines()[-1]
        api.answers["runs"] = page(*(f"{i:032x}" for i in range(MAX_CANDIDATES + 1)))
        with pytest.raises(UsageError, match="and more") as raised:
            await client.find_run("0")
    assert f"{MAX_CANDIDATES:032x}" not in str(raised.value)
