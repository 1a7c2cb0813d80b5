"""The API as its own document describes it: schemathesis makes requests of it, right and wrong ones, and all its checks hold.

A request that fits the document is carried out or refused for a reason that is not its form; one that does not fit is refused; every
answer has a status, a type and a form that the document names; no answer is the server's own failure.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from playhead.core.decide import KEY_SCHEME
from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.log import Log
from playhead.ports.server import ClaimRequest, ReportRequest, RunRequest, ServerApi, StartRequest, TokenRequest
from playhead.server.app import KINDS, create_app
from playhead.server.serve import serve
from playhead.server.streams import StreamLimits
from playhead.service import Service, ServiceSettings
from tests.server.scripted import HEX
from tests.service.world import ADOPTED, SUCCEEDED, agent, flow, run_id
from tests.stores import new_backend

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

CONFIG: Final = Path(__file__).with_name("schemathesis.toml")
LIMIT_SECONDS: Final = 280.0
SEED: Final = 20_261_122
OPERATIONS: Final = sum(len(list(kind.routes)) for kind in KINDS)
REGISTERED: Final = flow()
JOINED: Final = agent()
BRIEF: Final = StreamLimits(longest_seconds=0.05)  # a stream that goes on is no answer yet
PROMPT: Final = ServiceSettings(behind_seconds=0.02, lease_seconds=3_600.0)


@asynccontextmanager
async def served(*, require_tokens: bool = False) -> AsyncGenerator[tuple[Service, str]]:
    async with Log.open(await new_backend()) as log, Service(log, settings=PROMPT) as service:
        app = create_app(service, limits=BRIEF, require_tokens=require_tokens)
        async with serve(app, port=0) as url:
            yield service, url


async def fuzzed(url: str, folder: Path, *options: str, more: str = "") -> tuple[int, str]:
    """schemathesis' exit code, and what it said. `more`: of its configuration."""
    config = folder / "schemathesis.toml"
    config.write_text(f"{CONFIG.read_text(encoding='utf-8')}\n{more}", encoding="utf-8")
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{url}/openapi.json"]
    fixed = ["--checks", "all", "--seed", str(SEED), "--generation-database", "none", "--no-color", *options]
    process = await asyncio.create_subprocess_exec(
        *program, *fixed, cwd=folder, env={**os.environ, "NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


@pytest.fixture(autouse=True)
def _installed() -> None:
    if find_spec("schemathesis") is None:
        reason = "schemathesis is not installed: pip install -e '.[dev]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


async def test_an_empty_server_keeps_to_its_document(tmp_path: Path) -> None:
    async with served() as (_, url):
        code, said = await fuzzed(url, tmp_path, "--max-examples", "8")
    assert code == 0, said
    assert f"{OPERATIONS} selected / {OPERATIONS} total" in said, said


async def test_runs_in_every_state_keep_to_it_too(tmp_path: Path) -> None:
    """Its requests meet a run that is running, beside others in other states, and may end it as they go."""
    async with served() as (service, url):
        runs = await _runs(service)
        known = {"run": runs[3], "name": REGISTERED.flow, "agent": JOINED.joined.agent}
        named = "\n".join(f'"path.{name}" = "{value}"' for name, value in known.items())
        code, said = await fuzzed(
            url, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", "5", more=f"[parameters]\n{named}\n"
        )
        seen = {(await service.run(run)).state for run in runs}
    assert code == 0, said
    assert len(seen) > 1


async def test_where_tokens_are_required_no_request_is_answered_without(tmp_path: Path) -> None:
    """Each operation that was carried out with the token is asked again without one, and with one that is none (ignored_auth)."""
    admin = Token("fuzz-admin", b"\x01" * SECRET_BYTES)
    bearer = f"Authorization: Bearer {admin.text}"
    async with served(require_tokens=True) as (service, url):
        await service.create_token(
            TokenRequest(name=admin.name, scope=Scope.ADMIN, digest=admin.digest, lifetime_seconds=86_400)
        )
        await _runs(service)
        phases = ("--phases", "coverage,fuzzing", "--max-examples", "5")
        code, said = await fuzzed(url, tmp_path, *phases, "--header", bearer, "--exclude-operation-id", "revoke_token")
        (live,) = [token for token in await service.tokens() if token.name == admin.name]
    assert code == 0, said
    assert live.state == "live"  # else everything was refused, and nothing shown


async def _runs(api: ServerApi) -> list[str]:
    await api.register_flow(REGISTERED)
    await api.join(JOINED)
    runs = [run_id(number) for number in range(1, 6)]
    later = int(time.time() * 1e6) + 3_600_000_000
    for number, run in enumerate(runs):
        at = later if number == 0 else None
        await api.ask_run(RunRequest(run=run, flow=REGISTERED.flow, seal=REGISTERED.seal, at=at))
    claims = [await api.claim(run, ClaimRequest(agent=JOINED.joined.agent, claim=HEX)) for run in runs[2:]]
    for claimed in claims[1:]:
        place = REGISTERED.storage
        begun = StartRequest(epoch=1, grant=claimed.grant, storage=place, python="3.11", key_scheme=KEY_SCHEME)
        await api.start(claimed.run, begun)
    last = claims[-1]
    ended = ReportRequest(epoch=1, grant=last.grant, origin=1, first_seq=0, events=(ADOPTED, SUCCEEDED))
    await api.report(last.run, ended)
    return runs
