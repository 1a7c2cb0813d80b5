"""The peers: other engines that answer the same questions on the same machine, in the same run. Owns the list of them and their versions.

Each lives in an environment of its own (`environments`), and is measured by a driver that runs there. Drivers are ours; what they drive is
used as its documentation shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`requires` is for pip, `node` for npm. `unpinned` are requirements of the peer's whose bounds an index may not meet."""

    name: str
    title: str
    asks: str
    requires: tuple[str, ...]
    node: tuple[str, ...] = ()
    unpinned: tuple[str, ...] = ()

    @property
    def driver(self) -> str:
        return f"benchmarks.peers.{self.name}_driver"


PEERS: Final = (
    Peer(
        name="prefect",
        title="Prefect 3.9.1",
        asks="its own server on SQLite; flows called in a client's process, or served with serve(), a process each",
        requires=("prefect==3.9.1",),
        unpinned=("certifi",),  # its newest release of the time asks for one that was younger still
    ),
    Peer(
        name="dbos",
        title="DBOS 3.4.0",
        asks="on SQLite; workflows called in process, or taken from a queue by threads of a worker",
        requires=("dbos==3.4.0",),
    ),
    Peer(
        name="restate",
        title="Restate 1.7.12",
        asks="its own server; a Python service under hypercorn, asked through the server's HTTP ingress",
        requires=("restate-sdk[serde]==1.3.0", "hypercorn==0.18.0"),
        node=("@restatedev/restate-server@1.7.12",),
    ),
)
