"""The stage: a server as a process of its own, and a runner in this one. Owns their lives; measures nothing.

The server is the one that users start. The runner here does what an agent's would: claim, start, execute until the log has
acknowledged the end; only that it is warm, so that a figure of many steps does not hold the start of a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, cast

from playhead.client.asking import Wish, ask
from playhead.client.http import HttpServer
from playhead.client.registration import register
from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.names import Epoch, RunId
from playhead.flows.flow import Flow
from playhead.home import Home
from playhead.ports.server import AgentHello, ClaimRequest, ServerApi, StartRequest
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution, Grant
from playhead.runner.loopthread import LoopThread
from playhead.settings import Settings

AGENT: Final = "benchmark"
STOP_SECONDS: Final = 20.0  # for a server to end after SIGTERM; then it is killed
REPOSITORY: Final = Path(__file__).parent.parent  # where runners find the module of the flows


def open_home(folder: Path) -> Home:
    """A home of its own below the folder; the user's settings do not reach it."""
    return Home.open(Settings.load({"home": folder}, env={}), env={})


@contextmanager
def served(home: Path, *command: str) -> Generator[tuple[str, int]]:
    """`playhead COMMAND` on this home, by default the server alone; gives its URL and process id once it answers."""
    with started(
        ["-m", "playhead.cli", *(command or ("server",)), "--home", str(home), "--port", "0", "--json"]
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start: exit code {process.wait(STOP_SECONDS)}")
        note = cast(dict[str, Any], json.loads(line))
        yield note["url"], process.pid


@contextmanager
def started(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Generator[subprocess.Popen[str]]:
    """A Python process with these arguments, ended with the block."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PLAYHEAD_")}
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        text=True, cwd=REPOSITORY, env={**bare, **(env or {})},
    )  # fmt: skip
    try:
        with process:
            try:
                yield process
            finally:
                _end(process)
    finally:
        assert process.returncode is not None


@contextmanager
def hired(home: Home, url: str) -> Generator[Runner]:
    """A runner in this process for the server at the URL."""
    with LoopThread("benchmark-link") as link, link.entered(HttpServer(url)) as api:
        yield Runner(home, api, link)


class Runner:
    def __init__(self, home: Home, api: ServerApi, link: LoopThread) -> None:
        self._home = home
        self._api = api
        self._link = link
        joined = ev.AgentJoined(
            agent=AGENT, kind="local", capacity=1, storages=(home.storage.id,), key_ids=(home.keys.current.id,),
            python=_python(), version="0",
        )  # fmt: skip
        link.call(api.join(AgentHello(joined=joined)))

    def seconds(self, subject: Flow[..., Any], **parameters: Any) -> float:
        """One run, from the runner's first request to the acknowledged end."""
        view = self._link.call(register(subject, self._api, self._home))
        run = self._link.call(ask(view, self._api, self._home, Wish(parameters=parameters), flow=subject))
        claimed = self._link.call(self._api.claim(run, ClaimRequest(agent=AGENT, claim=token_hex(8))))
        grant = Grant(
            run=RunId(run), flow=claimed.flow, epoch=Epoch(claimed.epoch), grant=claimed.grant,
            scheduled_for=claimed.scheduled_for, key=self._home.keys.run_key(run), storage=self._home.storage,
        )  # fmt: skip
        began = time.perf_counter()
        sent_at = boot_time()
        first = StartRequest(
            epoch=grant.epoch, grant=grant.grant, storage=grant.storage.id, python=_python(), key_scheme=KEY_SCHEME
        )
        running = self._link.call(self._api.start(run, first))
        execution = Execution(grant, self._api, self._link, running, sent_at)
        outcome = execution.execute(lambda: (subject, parameters), ())
        took = time.perf_counter() - began
        outcome.unwrap(RunId(run))
        return took


def log_bytes(home: Path) -> int:
    """The size of the log's file; of a log that nobody has open, since what is not checkpointed is elsewhere."""
    return (home / "log.db").stat().st_size


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
