"""Sealing registered flows anew with the key in use: after a rotation, what runs from then on no longer needs the older key.

Loads no code and asks for no file: the verified content of the old seal is signed again, and so are its schedule's parameters. Runs
that are there keep the key that they were asked for with.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread

from playhead.core import events as ev
from playhead.errors import PlayheadError
from playhead.home import Home
from playhead.ports.server import FlowView, ServerApi
from playhead.trust.seal import read_seal, write_seal
from playhead.trust.ticket import read_preset, read_schedule, write_preset, write_schedule


@dataclass(frozen=True, slots=True)
class Resealed:
    """`kept`: flows that stay with the key that they have, each with the error that says why."""

    flows: tuple[str, ...]
    kept: tuple[tuple[str, PlayheadError], ...]


async def reseal(api: ServerApi, home: Home) -> Resealed:
    """Seal each flow of the server whose seal has another key than the current one. May be cut short, and done again."""
    done: list[str] = []
    kept: list[tuple[str, PlayheadError]] = []
    for view in await api.flows():
        if view.registered.key_id == home.keys.current.id:
            continue
        try:
            await _reseal(view, api, home)
        except PlayheadError as error:  # one flow whose storage is away must not keep the others
            kept.append((view.flow, error))
        else:
            done.append(view.flow)
    return Resealed(tuple(done), tuple(kept))


async def _reseal(view: FlowView, api: ServerApi, home: Home) -> None:
    newest = await api.flow(view.flow)
    registered = await anyio.to_thread.run_sync(lambda: _signed_anew(newest.registered, home))
    if (await api.flow(view.flow)).registered == newest.registered:  # else somebody has registered it meanwhile
        await api.register_flow(registered)


def _signed_anew(registered: ev.FlowRegistered, home: Home) -> ev.FlowRegistered:
    """Seal and ticket under the current key, durable before the server hears of them."""
    flow = registered.flow
    old = home.keys.flow_key(flow, key_id=registered.key_id)
    new = home.keys.flow_key(flow)
    storage = home.storage_of(f"flow {flow}", registered.storage)
    seal = read_seal(storage, flow, registered.seal, old)
    encrypt = home.settings.encrypt or registered.seal == seal.id(old, encrypt=True)
    seal_id = write_seal(storage, seal, new, encrypt=encrypt)
    change = {"seal": seal_id, "encrypt": encrypt}
    if registered.schedule is not None:
        ticket = read_schedule(storage, flow, registered.schedule.id, registered.seal, old)
        write_schedule(storage, ticket.model_copy(update={**change, "times": registered.schedule}), new)
    for preset in registered.presets or ():
        signed = read_preset(storage, flow, preset.id, registered.seal, old)
        write_preset(storage, signed.model_copy(update=change), new)
    return registered.model_copy(update={"seal": seal_id, "key_id": new.key_id})
