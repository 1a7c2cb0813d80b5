"""Registering a flow: its seal and tickets into storage, and facts only to the server. Owns the order of these."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from pydantic import BaseModel, JsonValue
from pydantic_core import PydanticSerializationError

from playhead.client.presets import Presets, presets_of, sign_presets, together
from playhead.client.sealing import code_of, kind_of
from playhead.client.values import dump_parameters
from playhead.core import events as ev
from playhead.core.events import SealedBy
from playhead.core.schedules import check_schedule
from playhead.errors import AlreadyExists, BadParameter, UsageError
from playhead.flows.flow import Flow
from playhead.flows.task import Task
from playhead.home import Home
from playhead.ports.server import FlowView, ServerApi
from playhead.trust.seal import Code, Seal, signature_of, write_seal
from playhead.trust.ticket import ScheduleTicket, read_schedule, write_schedule


async def register(
    flow: Flow[..., Any],
    api: ServerApi,
    home: Home,
    *,
    sealed_by: SealedBy | None = None,
    presets: Presets | None = None,
) -> FlowView:
    """Seal the flow into the home's storage and make it known to the server; with a schedule it runs by itself from then on.

    `presets` None: those that this seal has stay.

    `sealed_by` None: as fits where the code is. The same content registered again changes nothing. BadSchedule, BadParameter (a
    scheduled flow has a parameter without a default) and FlowLoadError come before anything is written.
    """
    registered, seal = await anyio.to_thread.run_sync(lambda: _prepare(flow, home, sealed_by))
    if presets is not None:
        kept = () if presets.drop else await presets_of(api, registered)
        signed = await anyio.to_thread.run_sync(lambda: sign_presets(presets, flow, seal, registered, home))
        registered = registered.model_copy(update={"presets": together(kept, signed)})
    return await api.register_flow(registered)


def _prepare(flow: Flow[..., Any], home: Home, sealed_by: SealedBy | None) -> tuple[ev.FlowRegistered, Seal]:
    """Everything on the user's side: check, seal, sign; then the facts that a server may learn."""
    schedule = _schedule_of(flow)
    if schedule is not None:
        _refuse_open_parameters(flow)
    code = code_of(flow, sealed_by)
    facts = _Facts.of(flow)
    key = home.keys.flow_key(flow.name)
    seal = Seal(
        flow=flow.name,
        code=code,
        signature=signature_of(flow.fn),
        executor=_sealed_spec(flow.name, "executor", flow.executor),
        run_config=_sealed_spec(flow.name, "run config", flow.run_config),
    )
    seal_id = write_seal(home.storage, seal, key, encrypt=home.settings.encrypt)
    if schedule is not None:
        _sign_schedule(flow, home, schedule, seal, facts.labels)
    registered = ev.FlowRegistered(
        flow=flow.name,
        seal=seal_id,
        sealed_by=kind_of(code),
        parameters=facts.parameters,
        tasks=facts.tasks,
        executor=flow.executor.kind,
        run_config=flow.run_config.kind,
        labels=facts.labels,
        storage=home.storage.id,
        key_id=key.key_id,
        python=_python_of(code),
        schedule=schedule,
    )
    return registered, seal


@dataclass(frozen=True, slots=True)
class _Facts:
    """The names that the flow declares."""

    parameters: tuple[str, ...]
    tasks: tuple[str, ...]  # those that its module has; what it makes while it runs is not known before
    labels: tuple[str, ...]

    @classmethod
    def of(cls, flow: Flow[..., Any]) -> _Facts:
        names: dict[str, object] = getattr(flow.fn, "__globals__", {})
        tasks = {value.name for value in names.values() if isinstance(value, Task)}
        return cls(tuple(flow.signature.parameters), tuple(sorted(tasks)), tuple(sorted(flow.run_config.labels)))


def _schedule_of(flow: Flow[..., Any]) -> ev.Schedule | None:
    if flow.schedule is None:
        return None
    schedule = flow.schedule.to_schedule()
    check_schedule(schedule)
    return schedule


def _refuse_open_parameters(flow: Flow[..., Any]) -> None:
    for parameter in flow.signature.parameters.values():
        if parameter.default is parameter.empty:
            raise BadParameter(
                f"flow {flow.name} has a schedule, and its parameter {parameter.name!r} has no default",
                hint="nobody is there to give it when a schedule starts a run: give it a default",
            )


def _sign_schedule(
    flow: Flow[..., Any], home: Home, schedule: ev.Schedule, seal: Seal, labels: tuple[str, ...]
) -> None:
    defaults = {name: parameter.default for name, parameter in flow.signature.parameters.items()}
    key = home.keys.flow_key(flow.name)
    seal_id = seal.id(key, encrypt=home.settings.encrypt)
    ticket = ScheduleTicket(
        schedule=schedule.id,
        flow=flow.name,
        seal=seal_id,
        parameters=dump_parameters(defaults, seal.code, flow),
        labels=labels,
        times=schedule,
        encrypt=home.settings.encrypt,
    )
    try:
        write_schedule(home.storage, ticket, key)
    except AlreadyExists:
        # Equal defaults may pickle differently in another process, but the seal holds them too: the same seal, the same defaults.
        if read_schedule(home.storage, flow.name, schedule.id, seal_id, key).labels != labels:
            raise


def _sealed_spec(flow: str, what: str, spec: BaseModel) -> dict[str, JsonValue]:
    """The spec as the seal has it, with sets in an order: else the same flow would have another seal in each process.

    UsageError: it holds what has no JSON.
    """
    try:
        fields: dict[str, JsonValue] = spec.model_dump(mode="json")
    except PydanticSerializationError as error:
        raise UsageError(
            f"flow {flow}: its {what} {type(spec).__name__} cannot be sealed: {error}",
            hint="its settings are plain data: give a name or an address, and have it made where the flow runs",
        ) from error
    if isinstance(labels := fields.get("labels"), list):
        fields["labels"] = [*sorted(map(str, labels))]
    return fields


def _python_of(code: Code) -> str | None:
    return f"{sys.version_info.major}.{sys.version_info.minor}" if code.kind == "value" else None
