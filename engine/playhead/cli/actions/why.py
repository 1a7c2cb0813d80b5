"""What a run waits for, or what ended it: the server's word for it, and a failure's own words from the user's storage."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from playhead.cli.actions.look import explained, without_traceback
from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.cli.rendering.waiting import waiting_page
from playhead.core.state import RunStatus


def say_why(text: str, *, task: str | None, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        place = Place.of(home, server)
        async with place.client() as client:
            run = await client.find_run(text)
            waiting = await client.why(run, task=task)
            error = None
            if waiting.state is RunStatus.FAILED:
                view = await client.run(run, tasks=False)
                error = without_traceback((await explained(client, view, place.home, must=False)).error)
        if as_json:
            print_json(waiting.model_dump(mode="json") | {"error": error and error.model_dump(mode="json")})
        else:
            stdout().print(waiting_page(waiting, datetime.now(UTC), error))
        return ExitCode.GOOD

    return asyncio.run(ask())
