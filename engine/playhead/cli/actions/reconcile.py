"""Reconciling a run with a log that was put back from an older copy, and saying what the log knows again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stdout
from playhead.cli.place import Place
from playhead.client.reconciling import reconcile


def reconcile_run(text: str, *, home: Path | None, server: str | None, as_json: bool) -> int:
    async def ask() -> int:
        place = Place.of(home, server)
        async with place.client() as client:
            run = await client.find_run(text)
            adopted = await reconcile(client.api, place.home, run)
        if as_json:
            print_json({"run_id": run, "adopted": [{"epoch": each.epoch, "records": each.records} for each in adopted]})
        elif not adopted:
            stdout().print(f"run {run}: the log knows every journal that storage holds", soft_wrap=True)
        else:
            for each in adopted:
                stdout().print(
                    f"run {run}: epoch {each.epoch} is known again, {each.records:,} records", soft_wrap=True
                )
        return ExitCode.GOOD

    return asyncio.run(ask())
