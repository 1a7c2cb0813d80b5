"""Presets: sets of a flow's parameters that are signed once, so that a run with them can be asked for without the key.

Owns their checking and signing. A preset is a standing permission: whoever may ask the server, and the server itself, can start
its runs as often as they like, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from playhead.client.values import dump_parameters
from playhead.core import events as ev
from playhead.core.names import check_name
from playhead.errors import NotFound, UsageError
from playhead.flows.flow import Flow
from playhead.flows.parameters import check_parameters
from playhead.home import Home
from playhead.ports.server import ServerApi
from playhead.trust.seal import Seal
from playhead.trust.ticket import PresetTicket, preset_id, write_preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Presets:
    """What to sign: parameters by preset, the others filled in with defaults. `drop`: the presets that there are go first.

    `from_text`: the parameters are texts, as a command line gives them.
    """

    signed: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    from_text: bool = False
    drop: bool = False


def sign_presets(
    presets: Presets, flow: Flow[..., Any], seal: Seal, registered: ev.FlowRegistered, home: Home
) -> tuple[ev.Preset, ...]:
    """Check each, and put its ticket into storage. BadParameter: a parameter does not fit. UsageError: a name is none."""
    key = home.keys.flow_key(flow.name)
    signed: list[ev.Preset] = []
    for name, given in presets.signed.items():
        parameters = check_parameters(flow, given, from_text=presets.from_text)
        payload = dump_parameters(parameters, seal.code, flow)
        ticket = PresetTicket(
            preset=preset_id(key, check_name("preset", name), payload, registered.labels),
            name=name,
            flow=flow.name,
            seal=registered.seal,
            parameters=payload,
            labels=registered.labels,
            encrypt=home.settings.encrypt,
        )
        write_preset(home.storage, ticket, key)
        signed.append(ev.Preset(name=name, id=ticket.preset))
    return tuple(signed)


async def presets_of(api: ServerApi, registered: ev.FlowRegistered) -> tuple[ev.Preset, ...]:
    """Those that the flow has as it is registered now, if that is with this seal: others were signed for other code."""
    try:
        newest = (await api.flow(registered.flow)).registered
    except NotFound:
        return ()
    return newest.presets or () if newest.seal == registered.seal else ()


def together(kept: tuple[ev.Preset, ...], signed: tuple[ev.Preset, ...]) -> tuple[ev.Preset, ...]:
    """Both, by name; what was signed takes the place of what was kept. UsageError: too many."""
    presets = tuple({preset.name: preset for preset in (*kept, *signed)}.values())
    if len(presets) > ev.MAX_PRESETS:
        raise UsageError(f"a flow with {len(presets)} presets", hint=f"{ev.MAX_PRESETS} is the most")
    return presets
