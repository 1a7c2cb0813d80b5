"""Two machines and the cable between them: network namespaces that a test makes and removes. Owns the link and what is done to it.

Both ends have addresses of 127.0.0.0/8, which their kernels are told to carry over a link as any other: so a server there is as open to
its own as on one machine, and what is tried is the network and no token.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.means import need, tool
from tests.system.machine import WAIT_SECONDS, Machine

SERVER: Final = "127.77.0.1"
USER: Final = "127.77.0.2"
DEVICE: Final = "cable"
NOBODY: Final = "02:00:00:00:00:01"  # a hardware address that no interface has
ESTABLISHED: Final = "01"  # in /proc/net/tcp


class Link:
    """The cable. `ends` are the namespaces: the server's, and that of agents and runners."""

    def __init__(self, name: str) -> None:
        self.ends = (f"{name}-s", f"{name}-u")

    def at_server(self) -> tuple[str, ...]:
        """What to put before a command that is to run on the server's machine."""
        return ("ip", "netns", "exec", self.ends[0])

    def at_user(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.ends[1])

    @contextmanager
    def down(self) -> Generator[None]:
        """Nothing comes through, and nobody is told."""
        self._ip(0, "link", "set", DEVICE, "down")
        try:
            yield
        finally:
            self._ip(0, "link", "set", DEVICE, "up")

    @contextmanager
    def deaf(self, end: int) -> Generator[None]:
        """What is sent to that end is lost, and what it sends arrives: packets go out to a hardware address that nobody has."""
        other, address = 1 - end, (SERVER, USER)[end]
        self._ip(other, "neighbour", "replace", address, "lladdr", NOBODY, "nud", "permanent", "dev", DEVICE)
        try:
            yield
        finally:
            self._ip(other, "neighbour", "del", address, "dev", DEVICE)

    def make(self) -> None:
        for name in self.ends:
            tool("ip", "netns", "add", name)
        veth = ("name", DEVICE, "netns", self.ends[0], "type", "veth", "peer", "name", DEVICE, "netns", self.ends[1])
        tool("ip", "link", "add", *veth)
        for end, address in enumerate((SERVER, USER)):
            self._ip(
                end, "address", "add", "127.0.0.1/32", "dev", "lo"
            )  # not all of 127.0.0.0/8, as it would be by itself
            self._ip(end, "link", "set", "lo", "up")
            self._ip(end, "address", "del", "127.0.0.1/8", "dev", "lo", must=False)
            route = f"/proc/sys/net/ipv4/conf/{DEVICE}/route_localnet"
            tool("ip", "netns", "exec", self.ends[end], "sh", "-c", f"echo 1 > {route}")
            self._ip(end, "address", "add", f"{address}/24", "dev", DEVICE)
            self._ip(end, "link", "set", DEVICE, "up")

    def remove(self) -> None:
        for name in self.ends:
            with contextlib.suppress(AssertionError):
                tool("ip", "netns", "del", name)

    def _ip(self, end: int, *what: str, must: bool = True) -> None:
        with contextlib.nullcontext() if must else contextlib.suppress(AssertionError):
            tool("ip", "-netns", self.ends[end], *what)


@contextmanager
def link() -> Generator[Link]:
    need("ip")
    made = Link(f"playhead-{os.getpid()}")
    try:
        made.make()
        yield made
    finally:
        made.remove()


class FarMachine(Machine):
    """The server on one machine, agents and runners on another; they share the home's files and nothing else. The test itself asks
    through the home's socket, which no network can cut."""

    def __init__(self, home: Path, link: Link) -> None:
        super().__init__(home)
        self.link = link

    def serve_far(self) -> subprocess.Popen[bytes]:
        return self.server("0", "--host", SERVER, under=self.link.at_server())

    def agent_far(self) -> subprocess.Popen[bytes]:
        return self.agent(under=self.link.at_user())

    def playhead(
        self, *arguments: str, check: bool = True, timeout: float = WAIT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        self.env["PLAYHEAD_SERVER"] = f"unix://{self.home}/playhead.sock"
        try:
            return super().playhead(*arguments, check=check, timeout=timeout)
        finally:
            del self.env["PLAYHEAD_SERVER"]

    def get(self, path: str) -> bytes:
        connection = _ToSocket(self.home / "playhead.sock")
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return answer.read()
        finally:
            connection.close()


class _ToSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def connections(pid: int) -> set[tuple[str, str]]:
    """Established connections of the machine that the process is on: (local, remote) address and port, as the kernel writes them."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {(row[1], row[2]) for row in rows if row[3] == ESTABLISHED}
