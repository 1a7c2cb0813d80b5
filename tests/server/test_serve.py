"""Listening: addresses that can and cannot be had, and an end that leaves nothing running."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import threading
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from msgspec.structs import replace

from playhead.client.http import HttpServer
from playhead.core.tokens import Scope
from playhead.errors import UsageError
from playhead.server.app import create_app
from playhead.server.serve import serve
from tests.server.scripted import RUN, ScriptedApi, recorded
from tests.server.serving import QUICK, serving, until


async def test_port_0_gives_the_url_that_was_bound() -> None:
    async with serving(ScriptedApi()) as url, HttpServer(url) as http:
        assert urlsplit(url).port
        assert (await http.info()).version == "0.1.0"


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "127.0.0.1"])
async def test_the_url_can_be_connected_to_whatever_the_host(host: str) -> None:
    api = ScriptedApi()
    token = api.admission.let_in("anna", Scope.VIEWER)
    app = create_app(api, require_tokens=True)
    async with serve(app, host, 0) as url, HttpServer(url, token=token) as http:
        assert (await http.info()).version == "0.1.0"


@pytest.mark.parametrize(("host", "names"), [("0.0.0.0", ()), ("::", ()), ("127.0.0.1", ("playhead.example.com",))])
async def test_where_others_can_come_tokens_are_required_and_somebody_must_have_one(
    host: str, names: tuple[str, ...]
) -> None:
    api = ScriptedApi()
    with pytest.raises(UsageError, match="requires no tokens") as raised:
        async with serve(create_app(api), host, 0, allowed_hosts=names):
            pass
    assert "127.0.0.1" in (raised.value.hint or "")
    with pytest.raises(UsageError, match="there is none by which anybody could use it") as raised:
        async with serve(create_app(api, require_tokens=True), host, 0, allowed_hosts=names):
            pass
    assert "playhead token create" in (raised.value.hint or "")


async def test_a_port_in_use_names_itself_and_what_to_do() -> None:
    async with serving(ScriptedApi()) as url:
        port = urlsplit(url).port
        assert port is not None
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is in use") as raised:
            async with serving(ScriptedApi(), port=port):
                pass
    assert "--port" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("host", "port"), [("256.256.256.256", 0), ("no such host", 0), ("203.0.113.1", 0), ("127.0.0.1", 99_999)]
)
async def test_an_address_that_cannot_be_had_is_named(host: str, port: int) -> None:
    with pytest.raises(UsageError, match=str(port)):
        async with serve(create_app(ScriptedApi()), host, port):
            pass


async def test_a_unix_socket_is_its_owners_only_and_is_gone_at_the_end(tmp_path: Path) -> None:
    async with serving(ScriptedApi(), road="unix", folder=tmp_path) as url, HttpServer(url) as http:
        path = tmp_path / "s"
        assert url == f"unix://{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await http.info()).version == "0.1.0"
    assert not path.exists()


async def test_a_socket_file_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    async with serving(ScriptedApi(), road="unix", folder=tmp_path) as url, HttpServer(url) as http:
        with pytest.raises(UsageError, match="in use"):
            async with serving(ScriptedApi(), road="unix", folder=tmp_path):
                pass
        assert (await http.info()).version == "0.1.0"


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(UsageError, match="not a socket"):
        async with serving(ScriptedApi(), road="unix", folder=tmp_path):
            pass
    assert (tmp_path / "s").read_text() == "mine"


async def test_a_socket_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with pytest.raises(UsageError, match="shorter path"):
        async with serving(ScriptedApi(), road="unix", folder=deep):
            pass


async def test_serving_installs_no_signal_handler_and_leaves_nothing_running() -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    tasks, threads, descriptors = asyncio.all_tasks(), threading.active_count(), _descriptors()
    async with serving(ScriptedApi()):
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads
    assert _descriptors() == descriptors


async def test_an_open_request_is_waited_for_and_a_stuck_one_is_not() -> None:
    class Slow(ScriptedApi):
        async def info(self):  # type: ignore[no-untyped-def]  # the port's type
            entered.release()
            await going_on.wait()
            return await super().info()

    entered, going_on = asyncio.Semaphore(0), asyncio.Event()

    async def ask(url: str) -> str:
        async with HttpServer(url, patience=QUICK) as http:
            return (await http.info()).version

    async with serving(Slow()) as url:
        asked = asyncio.create_task(ask(url))
        await entered.acquire()
        asyncio.get_running_loop().call_soon(going_on.set)
    assert await asked == "0.1.0"
    going_on.clear()
    async with serving(Slow()) as url:
        asked = asyncio.create_task(ask(url))
        await entered.acquire()
    asked.cancel()
    await asyncio.wait({asked})
    assert asked.cancelled()


async def test_a_client_that_does_not_read_does_not_keep_its_connection_beyond_the_grace() -> None:
    api = ScriptedApi()
    await api.add(*(replace(recorded(position), data={"filler": "x" * 100_000}) for position in range(1, 301)))  # 30 MB
    before = _descriptors()
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        async with serving(api) as url:
            where = urlsplit(url)
            silent.connect((where.hostname, where.port))
            silent.sendall(f"GET /api/runs/{RUN}/history HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            await until(lambda: api.calls)
        await until(lambda: _descriptors() == before + 1)  # its own end


def _descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_a_caller_that_is_cancelled_while_the_server_starts_is_not_kept() -> None:
    with anyio.fail_after(10), anyio.CancelScope() as given_up:
        given_up.cancel()
        async with serve(create_app(ScriptedApi()), port=0):
            pass
    assert given_up.cancelled_caught
