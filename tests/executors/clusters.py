"""Dask clusters beside a test's process: a scheduler and two workers, in processes of their own. Skips what needs them without dask.

Without dask tests are skipped, and fail where nothing may be missing (CI=true).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from socket import socket
from typing import Any, Final

import pytest

from playhead.executors import DaskExecutor
from playhead.testing.sample_calls import told

if find_spec("distributed") is None:
    if os.environ.get("CI") == "true":
        raise ModuleNotFoundError("dask is missing, and nothing may be skipped here: pip install 'playhead[dask]'")
    pytest.skip("dask is not installed: pip install 'playhead[dask]'", allow_module_level=True)

_SCRIPT: Final = """
import asyncio, json, sys
from distributed import LocalCluster, Security

async def main():
    given = json.loads(sys.argv[1])
    if tls := given.pop("tls", None):
        given["security"] = Security(require_encryption=True, **tls)
    async with LocalCluster(asynchronous=True, dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False}, **given) as cluster:
        print(cluster.scheduler_address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

if __name__ == "__main__":
    asyncio.run(main())
"""

_SETTINGS: Final = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
}


def warmed() -> Generator[None]:
    """A module's fixture. Dask keeps a thread, and Python a process for what it spawns, as long as the program lives: neither is an
    executor's to end.
    """

    async def once() -> None:
        async with DaskExecutor(workers=1).open() as executor:
            await executor.submit(told)

    asyncio.run(once())
    yield
    tracker: Any = resource_tracker
    tracker._resource_tracker._stop()  # other tests count this process's children


@contextmanager
def dask_cluster(folder: Path, port: int = 0, *, env: Mapping[str, str] | None = None, **given: Any) -> Generator[str]:
    """The address of a cluster set up as the how-to says. At the end it is killed at once, as by the loss of its machine.

    `given` goes to LocalCluster; `tls` are the arguments of its Security.
    """
    script = folder / "cluster.py"
    script.write_text(_SCRIPT)
    given = {"n_workers": 2, "threads_per_worker": 1, "scheduler_port": port, "local_directory": str(folder), **given}
    with subprocess.Popen(
        [sys.executable, str(script), json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_SETTINGS, **(env or {})},
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address, "the cluster did not start"
            yield address
        finally:
            process.kill()


def free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
