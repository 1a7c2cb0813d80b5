"""A server process over any store: `python -m tests.faults.served STORE PORT FOLDER LEASE_SECONDS`, until it is killed."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from playhead.log import Log
from playhead.server.app import create_app
from playhead.server.serve import serve
from playhead.service import Service, ServiceSettings


async def main(store: str, port: int, folder: Path, lease_seconds: float) -> None:
    folder.mkdir(exist_ok=True)
    settings = ServiceSettings(lease_seconds=lease_seconds, sweep_seconds=lease_seconds / 5)
    async with (
        Log.open(store) as log,
        Service(log, read_models=folder / "views.db", settings=settings) as service,
        serve(create_app(service), port=port) as url,
    ):
        print(f"serves at {url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
