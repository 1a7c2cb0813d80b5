"""The user's side and the server's side of a canary's run: two homes, two environments, and a recorder between them.

The user's processes see the marked words in their environment, their folder, their files and their host's name; the server's see none.
Owns starting and ending them; `places` reads what is searched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.canary import places
from tests.canary.words import ENVIRONMENT, FOLDER, GIVEN, HOST, MARK, MODULE, SOURCE, Found, find, find_mark, told
from tests.system.machine import PLAYHEAD, Machine

_DASK: Final = ("on-dask",) if find_spec("distributed") is not None or os.environ.get("CI") == "true" else ()
EXECUTORS: Final = ("on-threads", "on-the-thread", "on-processes", *_DASK)
SERVER: Final = (sys.executable, "-m", "tests.canary.server_at_debug")

_PLAIN_AGENT: Final = """
import asyncio, sys
from playhead import LocalAgent
from playhead.client.http import HttpServer
async def main():
    command = (sys.executable, "-X", "utf8", "-m", "playhead.runner")
    async with HttpServer(sys.argv[1]) as api, LocalAgent(command=command).attach(api, sys.argv[1]):
        await asyncio.Event().wait()
asyncio.run(main())
"""

_RENAMED_HOST: Final = """
import os, socket, sys
socket.sethostname(sys.argv[1])
os.execvp(sys.argv[2], sys.argv[2:])
"""


class User(Machine):
    """A home of the user's, whose every process sees marked words."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.folder = home / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = Path(shutil.copy(SOURCE, self.folder / f"{MODULE}.py"))
        self.env |= {**ENVIRONMENT, "PYTHONPATH": str(self.folder), "TMPDIR": str(self.folder)}

    def flow(self, name: str) -> str:
        """Where the code of that flow is."""
        return f"{self.file}:{variable(name)}"

    def given(self, flow: str) -> list[str]:
        """The parameters that its run is asked for with."""
        return ["-p", f"given={GIVEN}", *(["-p", f"folder={self.folder}"] if flow in EXECUTORS else [])]

    def start_agent(self, url: str, *, by_fork: bool) -> None:
        """An agent of this home on a host with a marked name, when it has joined."""
        plain = (sys.executable, "-c", _PLAIN_AGENT, url)
        self.start(
            *_on_a_marked_host(), *((*PLAYHEAD, "agent", "local", "--server", url) if by_fork else plain), name="agent"
        )
        self.wait_for(lambda: self.json("agents", "--server", url), "the agent to join")


def variable(flow: str) -> str:
    """The name under which the flow's file has it."""
    return f"{MARK}_{flow.replace('-', '_')}"


def server_at_debug(host: Machine) -> subprocess.Popen[bytes]:
    """A server that says all it can, when it answers."""
    note = host.home / "server.json"
    host.env |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = host.start(*SERVER, "server", "--port", "0", name="server")
    host.wait_for(lambda: note.exists() or process.poll() is not None, "the server to answer")
    assert process.poll() is None, (host.home / "server.out").read_text()
    return process


def headers_of(asked: bytes) -> dict[str, set[str]]:
    """Each header of the requests in a recording, and the values that it had."""
    found: dict[str, set[str]] = {}
    for head in re.findall(rb"(?:GET|POST) /\S* HTTP/1\.1\r\n(.*?)\r\n\r\n", asked, re.DOTALL):
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            found.setdefault(name.lower(), set()).add(value)
    return found


def told_in(searched: Iterable[places.Place]) -> list[str]:
    """What was found, and where."""
    return [f"{name}: {line}" for name, data in searched for line in told(find(data))]


def told_in_memory(pid: int) -> list[str]:
    found: Iterator[tuple[str, Found]] = (
        (name, each) for name, data in places.memory_of(pid) for each in find_mark(data)
    )
    return [f"{name}: {each.disguise}: {each.around!r}" for name, each in found]


@cache
def _on_a_marked_host() -> tuple[str, ...]:
    """What goes before a command, so that its host has a marked name; nothing where this system does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--uts", sys.executable, "-c", _RENAMED_HOST, HOST)
    tried = subprocess.run((*command, "true"), env=dict(os.environ), capture_output=True, timeout=30, check=False)
    return command if tried.returncode == 0 else ()
