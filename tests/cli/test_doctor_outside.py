"""The doctor's look at what adapters speak to: when it looks, what a Docker engine's answers come to, and what the command ends with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from playhead.cli.examining import outside
from playhead.cli.examining.outside import Asked
from playhead.ports.examination import Finding, Health
from playhead_adapters.infrastructure.docker import daemon
from tests.cli.conftest import Call

SOUND = {"ServerVersion": "27.1", "OSType": "linux", "Architecture": "x86_64", "ContainersRunning": 3, "Warnings": None}


@asynccontextmanager
async def engine(path: Path, info: dict[str, Any], status: int = 200) -> AsyncGenerator[str]:
    """What answers as a Docker engine does that is asked for its version and what it is."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/version"):
            return web.json_response({"ApiVersion": "1.46", "Version": "27.1"})
        return web.json_response(info, status=status)

    app = web.Application()
    app.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield f"unix://{path}"
    finally:
        await runner.cleanup()


async def looked_at(where: str) -> Finding:
    (found,) = await outside.outside(Asked(docker_host=where), None)
    return found


@pytest.mark.parametrize(
    ("info", "health", "says"),
    [
        ({}, Health.OK, "version 27.1, linux on x86_64, 3 containers run"),
        ({"OSType": "windows"}, Health.FAIL, "windows on x86_64"),
        ({"Warnings": ["WARNING: No memory limit support"]}, Health.WARN, "it cannot limit memory"),
        ({"Warnings": ["WARNING: No swap limit support"]}, Health.OK, "3 containers run"),
    ],
)
async def test_what_an_engine_is_decides_whether_runners_can_live_there(
    info: dict[str, Any], health: Health, says: str, tmp_path: Path
) -> None:
    async with engine(tmp_path / "engine", SOUND | info) as where:
        found = await looked_at(where)
    assert (found.health, says in found.text) == (health, True), found
    assert (found.todo is None) is (health is Health.OK)


async def test_an_engine_that_refuses_is_told_from_one_that_does_not_answer(tmp_path: Path) -> None:
    async with engine(tmp_path / "engine", {"message": "not today"}, status=403) as where:
        refused = await looked_at(where)
    assert (refused.health, refused.unreachable) == (Health.FAIL, False)
    assert "not today" in refused.text
    away = await looked_at(f"unix://{tmp_path}/none")
    assert (away.health, away.unreachable) == (Health.FAIL, True)
    assert "No such file or directory" in away.text


async def test_an_engine_is_looked_at_where_one_is_likely_and_dask_only_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert await outside.outside(Asked(), None) == []
    async with engine(tmp_path / "named", SOUND) as where:
        monkeypatch.setenv("DOCKER_HOST", where)
        (found,) = await outside.outside(Asked(), None)
        assert found.health is Health.OK
    (found,) = await outside.outside(Asked(), None)
    assert found.health is Health.FAIL, "somebody means to use it"
    monkeypatch.delenv("DOCKER_HOST")
    outside.DOCKER_SOCKET.touch()
    monkeypatch.setattr(daemon, "DEFAULT_HOST", f"unix://{outside.DOCKER_SOCKET}")
    (found,) = await outside.outside(Asked(), None)
    assert found.health is Health.WARN, "it is there, and nobody said that it is used"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--docker-host", "unix:///nowhere/docker.sock"), 3, "start the engine"),
        (("--docker-host", "nonsense"), 2, "an engine's URL begins with"),
    ],
)
def test_each_trouble_has_its_code_and_what_to_do(
    arguments: tuple[str, ...], code: int, says: str, call: Call, tmp_path: Path
) -> None:
    answer = call("doctor", "--home", tmp_path / "none", *arguments)
    assert answer.code == code
    assert says in answer.out


def test_modules_without_a_cluster_are_wrong_use(call: Call, tmp_path: Path) -> None:
    answer = call("doctor", "--home", tmp_path / "none", "--module", "json", "--json")
    assert (answer.code, answer.error["message"]) == (2, "--module says what workers should have")


async def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "ENTRY_POINTS", "playhead.nothing")
    (found,) = await outside.outside(Asked(dask="tcp://127.0.0.1:1"), None)
    assert (found.health, found.todo) == (Health.FAIL, "pip install 'playhead[dask]'")
