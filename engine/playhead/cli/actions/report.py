"""What a run's executor told of itself, read from the user's storage and verified."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json
from playhead.cli.place import Place
from playhead.client.journals import claims_of
from playhead.client.reports import read_report


def print_report(text: str, *, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        place = Place.of(home, server)
        async with place.client() as client:
            view = await client.run(await client.find_run(text), tasks=False)
            claims = await claims_of(client.api, view)
        page = await asyncio.to_thread(read_report, view, claims, place.home)
        if as_json:
            print_json({"run_id": view.run_id, "html": page})
        else:
            sys.stdout.write(page)
        return ExitCode.GOOD

    return asyncio.run(ask())
