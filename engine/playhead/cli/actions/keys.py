"""The keys of this home: shown by id, carried elsewhere, rotated, forgotten. A key's text leaves only by `export`, and on demand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from playhead.cli.exits import ExitCode
from playhead.cli.output import print_json, stderr, stdout
from playhead.cli.place import Place
from playhead.client.client import Client
from playhead.client.resealing import Resealed, reseal
from playhead.core.state import RunStatus
from playhead.core.views import RunSummary
from playhead.errors import StorageUnavailable, UsageError
from playhead.home import Home
from playhead.ports.server import MAX_PAGE, RunFilter
from playhead.trust.keyfile import KEY_VARIABLE, export, parse_ring
from playhead.trust.keys import KeyRing, MasterKey

MAX_RING_BYTES: Final = 64 * 1024  # of a file of keys: far more than a full ring has

_LIVE: Final = tuple(status for status in RunStatus if not status.terminal)
_ENDED: Final = tuple(status for status in RunStatus if status.terminal)


def show_keys(*, home: Path | None, as_json: bool) -> int:
    place = Place.of(home)
    keys = place.home.keys
    if as_json:
        listed = [{"key_id": key.id, "signs": key is keys.current} for key in keys.all]
        facts = {"key_id": keys.current.id, "home": str(place.home.path), "source": source_of(place.home)}
        print_json({**facts, "keys": listed})
        return ExitCode.GOOD
    console = stdout()
    console.print(f"key {keys.current.id}\n  {source_of(place.home)}", soft_wrap=True)
    for key in keys.older:
        console.print(f"  {key.id} verifies what was signed before", style="dim", soft_wrap=True)
    return ExitCode.GOOD


def source_of(home: Home) -> str:
    """Where the keys are, in words."""
    path = home.key_file.path
    if path is None:
        return f"from {KEY_VARIABLE}"
    return f"from the home {home.path}" if path.parent == home.path else f"from the file that {KEY_VARIABLE} names"


def export_keys(*, out: Path | None, to_stdout: bool, only: str | None, home: Path | None, as_json: bool) -> int:
    if (out is None) != to_stdout:
        raise UsageError(
            "say where the keys go: into a file, or onto this terminal",
            hint="--out FILE makes a file that only you may read; --print shows them",
        )
    keys = Place.of(home).home.keys
    chosen = keys.all if only is None else (_named(keys, only),)
    if out is not None:
        export(chosen, out.expanduser())
        _tell_exported(chosen, out, as_json=as_json)
    elif as_json:
        print_json({"keys": [key.export() for key in chosen]})
    else:
        sys.stdout.write("".join(f"{key.export()}\n" for key in chosen))
    return ExitCode.GOOD


def _tell_exported(keys: tuple[MasterKey, ...], out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"key_ids": [key.id for key in keys], "file": str(out)})
        return
    count = "one key" if len(keys) == 1 else f"{len(keys)} keys"
    stdout().print(f"wrote {count} to {out}\n  playhead key import {out.name}", soft_wrap=True)


def import_keys(file: str, *, verify_only: bool, home: Path | None, as_json: bool) -> int:
    given = parse_ring(_text_of(file), "stdin" if file == "-" else file)
    found = Place.of(home).home
    before = {key.id for key in found.keys.all}

    def taken_in(ring: KeyRing) -> KeyRing:
        together = ring.verifying_with(*given.all)
        return together if verify_only else together.signing_with(given.current)

    ring = found.key_file.change(taken_in)
    added = [key.id for key in ring.all if key.id not in before]
    if as_json:
        print_json({"key_id": ring.current.id, "added": added})
    else:
        new = f"{len(added)} new" if added else "nothing new"
        stdout().print(f"{new}; this home signs with {ring.current.id}", soft_wrap=True)
    return ExitCode.GOOD


def _text_of(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(MAX_RING_BYTES)
        with Path(file).expanduser().open(encoding="ascii", errors="replace") as text:
            return text.read(MAX_RING_BYTES)
    except OSError as error:
        raise StorageUnavailable(
            f"the keys in {file} cannot be read: {error.strerror}", hint="name a file that `playhead key export` wrote"
        ) from error


def rotate_key(*, home: Path | None, server: str | None, as_json: bool) -> int:
    """The new key first, durable, then the flows: whatever cuts this short, both keys are there, and `reseal` goes on."""
    place = Place.of(home, server)
    new = MasterKey.random()
    place.home.key_file.change(lambda ring: ring.signing_with(new))
    return _reseal(home, server, "made and in use", as_json=as_json)


def reseal_flows(*, home: Path | None, server: str | None, as_json: bool) -> int:
    return _reseal(home, server, "in use", as_json=as_json)


def _reseal(home: Path | None, server: str | None, told: str, *, as_json: bool) -> int:
    place = Place.of(home, server)

    async def ask() -> Resealed:
        async with place.client() as client:
            return await reseal(client.api, place.home)

    resealed = asyncio.run(ask())
    key = place.home.keys.current.id
    if as_json:
        kept = [{"flow": flow, "error": error.message} for flow, error in resealed.kept]
        print_json({"key_id": key, "resealed": list(resealed.flows), "kept": kept})
    else:
        flows = f"sealed anew: {', '.join(resealed.flows)}" if resealed.flows else "no flow had to be sealed anew"
        stdout().print(f"key {key} is {told}; {flows}", soft_wrap=True)
    for flow, error in resealed.kept:
        stderr().print(f"flow {flow} keeps its key: {error}", style="yellow", soft_wrap=True)
    return ExitCode.WRONG_USE if resealed.kept else ExitCode.GOOD


def forget_key(key: str, *, lose_results: bool, home: Path | None, server: str | None, as_json: bool) -> int:
    place = Place.of(home, server)
    old = _named(place.home.keys, key)
    if old == place.home.keys.current:
        raise UsageError(f"the key {old.id} is in use", hint="make another one first: playhead key rotate")
    asyncio.run(_refuse_needed(place, old.id, lose_results=lose_results))
    place.home.key_file.change(lambda ring: ring.without(old.id))
    if as_json:
        print_json({"forgotten": old.id})
    else:
        stdout().print(f"forgot {old.id}; copies of it elsewhere are not touched", soft_wrap=True)
    return ExitCode.GOOD


async def _refuse_needed(place: Place, key_id: str, *, lose_results: bool) -> None:
    """UsageError while somebody needs the key, as far as the server of this home knows."""
    async with place.client() as client:
        flows = [view.flow for view in await client.api.flows() if view.registered.key_id == key_id]
        if flows:
            raise UsageError(f"the key {key_id} seals {', '.join(flows)}", hint="seal them anew: playhead key reseal")
        live = await _first_run(client, key_id, _LIVE)
        if live is not None:
            raise UsageError(
                f"run {live.run_id} of flow {live.flow} is {live.state} and needs the key {key_id}",
                hint=f"wait for its end, or end it: playhead cancel {live.run_id}",
            )
        ended = None if lose_results else await _first_run(client, key_id, _ENDED)
    if ended is not None:
        raise UsageError(
            f"results of runs that have ended, such as {ended.run_id}, can be read with the key {key_id} only",
            hint="--lose-results forgets it all the same; keep a copy: playhead key export --only ID --out FILE",
        )


async def _first_run(client: Client, key_id: str, states: tuple[RunStatus, ...]) -> RunSummary | None:
    page: str | None = None
    position = (await client.api.info()).position
    while True:
        answer = await client.api.runs(RunFilter(state=states), page=page, limit=MAX_PAGE, after=position)
        for run in answer.runs:
            if run.key_id == key_id:
                return run
        if answer.next is None:
            return None
        page = answer.next


def _named(keys: KeyRing, beginning: str) -> MasterKey:
    found = [key for key in keys.all if key.id.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    have = ", ".join(key.id for key in keys.all)
    what = "no key" if not found else "more than one key"
    raise UsageError(f"{what} of this home begins with {beginning!r}", hint=f"there is {have}")
