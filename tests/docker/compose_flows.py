"""A flow that tells what the network of its container, and that of its cluster's workers, leads to."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from playhead import DaskExecutor, DockerRun, flow, task

PATIENCE_SECONDS = 20.0  # a packet that is thrown away has no answer at all


def reached(addresses: list[str]) -> list[str]:
    """Which of these take a connection."""
    with ThreadPoolExecutor(len(addresses)) as pool:
        return [address for address, open_ in zip(addresses, pool.map(connects, addresses), strict=True) if open_]


def connects(address: str) -> bool:
    name, _, port = address.rpartition(":")
    try:
        socket.create_connection((name, int(port)), PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


@task
def reached_by_worker(addresses: list[str]) -> list[str]:
    return reached(addresses)


@flow(executor=DaskExecutor(address="tcp://scheduler:8786"), run_config=DockerRun())
def surroundings(addresses: list[str]) -> dict[str, list[str]]:
    there = reached_by_worker.submit(addresses)
    return {"runner": reached(addresses), "worker": there.result()}


if __name__ == "__main__":  # in a container of its own, without Playhead: `python3 compose_flows.py ADDRESS...`
    import sys

    print(*reached(sys.argv[1:]))
