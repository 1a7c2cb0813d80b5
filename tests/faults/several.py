"""Several servers on one PostgreSQL, behind a balancer, and an agent that knows only that. Owns the processes, by their ids."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.balancer import balancing
from tests.system.machine import FLOWS, PLAYHEAD, Machine, ended

SERVERS: Final = 3
LEASE_SECONDS: Final = 3.0  # then another leads a second after the one that led has died
SCHEDULED: Final = "/api/runs?limit=1000&flow=ticks"
LEADS: Final = "this server leads"
LEADS_NO_MORE: Final = "this server no longer leads"


class Several:
    def __init__(self, host: Machine, store: str, ports: list[int]) -> None:
        self.host = host
        self._store = store
        self._ports = ports
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *numbers: int) -> None:
        """Start these servers, and return when they answer."""
        for number in numbers:
            self._launch(number)
        for number in numbers:
            self.host.wait_for(partial(self.answers, number), f"server {number} to answer")

    def _launch(self, number: int) -> None:
        words = (self._store, str(self._ports[number]), str(self.host.home / f"server-{number}"), str(LEASE_SECONDS))
        self._processes[number] = self.host.start(
            sys.executable, "-m", "tests.faults.served", *words, name=f"server-{number}"
        )

    def answers(self, number: int) -> bool:
        assert self._processes[number].poll() is None, self.said(number)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[number]}/api/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, number: int) -> None:
        self.host.kill(self._processes[number])

    def stop(self, number: int) -> None:
        self._processes[number].send_signal(signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        self._processes[number].send_signal(signal.SIGCONT)

    def said(self, number: int) -> str:
        return (self.host.home / f"server-{number}.out").read_text()

    def leads(self, number: int) -> bool:
        """Whether the last that it said of the matter is that it leads."""
        said = self.said(number)
        return said.rfind(LEADS) > said.rfind(LEADS_NO_MORE)

    def another_leads(self, than: int) -> bool:
        return any(self.leads(number) for number in range(SERVERS) if number != than)

    def leader(self) -> int:
        def look() -> list[int]:
            return [number for number in range(SERVERS) if self.leads(number)]

        return self.host.wait_for(look, "one to lead")[0]

    def due_times(self) -> list[datetime]:
        """Of all runs of the schedule, as the log has them."""
        return _due_times(self.host.get(SCHEDULED))

    def due_times_by(self, number: int) -> list[datetime]:
        """As that server, which is at work, tells them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[number]}{SCHEDULED}", timeout=30) as answer:
            return _due_times(answer.read())


class Behind(Machine):
    """A machine whose programs ask the balancer."""

    def url(self) -> str:
        return self.env["PLAYHEAD_SERVER"]

    def get(self, path: str) -> bytes:
        """Asked again while the server that the balancer chose cannot answer."""

        def look() -> bytes | None:
            try:
                return super(Behind, self).get(path)
            except OSError:
                return None

        return self.wait_for(look, f"an answer for {path}")


@contextmanager
def several(folder: Path, store: str) -> Generator[Several]:
    """Three servers that answer, flows registered, and an agent; nothing of them is left at the end."""
    with ExitStack() as stack:
        ports = [_spare_port() for _ in range(SERVERS)]
        host = Behind(folder)
        stack.enter_context(ended(host))
        host.env["PLAYHEAD_SERVER"] = stack.enter_context(balancing(ports)).url
        host.env["PYTHONPATH"] += f":{Path.cwd()}"
        servers = Several(host, store, ports)
        servers.start(*range(SERVERS))
        for flow in ("chain", "ticks"):
            host.playhead("register", f"{FLOWS}:{flow}")
        host.start(*PLAYHEAD, "agent", "local", "--server", host.url(), "--capacity", "8", name="agent")
        yield servers


def _due_times(page: bytes) -> list[datetime]:
    return sorted(datetime.fromisoformat(run["scheduled_for"]) for run in json.loads(page)["runs"])


def _spare_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
