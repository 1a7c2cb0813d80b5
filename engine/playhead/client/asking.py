"""Asking for a run: parameters checked, a ticket signed into storage, and then the server asked. Owns that order and the run's id."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import anyio.to_thread

from playhead.client.values import dump_parameters
from playhead.core.events import MAX_LABELS, MAX_MOMENT
from playhead.core.names import RunId, check_name
from playhead.errors import AlreadyExists, FlowLoadError, NoSuchObject, StorageLost, UnloadableOutcome, UsageError
from playhead.flows.flow import Flow
from playhead.flows.parameters import check_parameters, refuse_missing, refuse_unknown, text_or_json
from playhead.home import Home
from playhead.ports.server import FlowView, PresetRequest, RunRequest, ServerApi
from playhead.ports.storage import Storage
from playhead.trust.code import load_code
from playhead.trust.keys import DerivedKey
from playhead.trust.payload import check_serialisable, dump, load
from playhead.trust.seal import ParameterKind, Seal, read_seal
from playhead.trust.ticket import AskedTicket, read_asked, write_asked

RUN_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for. `from_text`: the parameters are texts, as a command line gives them. `at` None: now. `labels` None: the flow's.

    The same `idempotency_key` gives the same run of the flow, asked for once.
    """

    parameters: Mapping[str, object]
    from_text: bool = False
    at: datetime | None = None
    labels: frozenset[str] | None = None
    idempotency_key: str | None = None


async def ask(view: FlowView, api: ServerApi, home: Home, wish: Wish, *, flow: Flow[..., Any] | None = None) -> RunId:
    """Ask for a run of a registered flow; durable on return. `flow` None: it is known by its name only, and its seal says what it takes.

    BadParameter: a parameter does not fit. UsageError: the time or a label does not, or the idempotency key was used for something
    else. TrustError, StorageLost: this home lacks the key or the storage that the flow was registered with.
    """
    at = _micros(wish.at)
    labels = None if wish.labels is None else _checked_labels(wish.labels)
    ticket = await anyio.to_thread.run_sync(lambda: _sign(view, home, wish, labels, at, flow))
    accepted = await api.ask_run(RunRequest(run=ticket.run, flow=ticket.flow, seal=ticket.seal, at=at, labels=labels))
    return RunId(accepted.run)


async def ask_preset(flow: str, preset: str, api: ServerApi, *, at: datetime | None = None) -> RunId:
    """Ask for a run of a registered flow with the parameters of one of its presets, which needs no key. NotFound: it has none."""
    # The nonce is chosen here, so that a request that is sent again asks for the same run.
    request = PresetRequest(flow=flow, preset=preset, nonce=secrets.token_hex(RUN_ID_BYTES), at=_micros(at))
    return RunId((await api.ask_preset(request)).run)


def _sign(
    view: FlowView,
    home: Home,
    wish: Wish,
    labels: tuple[str, ...] | None,
    at: int | None,
    flow: Flow[..., Any] | None,
) -> AskedTicket:
    """Check the parameters and write the ticket. Returns the one that is in storage: an earlier one where the key was used before."""
    registered = view.registered
    flow_key = home.keys.flow_key(view.flow, key_id=registered.key_id)
    storage = home.storage_of(f"flow {view.flow}", registered.storage)
    try:
        seal = read_seal(storage, view.flow, registered.seal, flow_key)
    except NoSuchObject as error:
        raise StorageLost(
            f"the seal of flow {view.flow} is gone from storage {storage.url}", hint="register the flow again"
        ) from error
    flow = flow or _loaded(seal)
    if flow is not None:
        parameters = check_parameters(flow, wish.parameters, from_text=wish.from_text)
        payload = dump_parameters(parameters, seal.code, flow)
    else:
        parameters = _sealed_parameters(seal, wish)
        payload = dump(parameters)
    earlier = _earlier(view.flow, home, storage, wish.idempotency_key)
    run = earlier.run if earlier is not None else _run_id(wish.idempotency_key, flow_key)
    ticket = AskedTicket(
        run=run,
        flow=view.flow,
        seal=registered.seal,
        parameters=payload,
        labels=registered.labels if labels is None else labels,
        not_before=at,
        encrypt=home.settings.encrypt or registered.seal == seal.id(flow_key, encrypt=True),
    )
    run_key = home.keys.run_key(run, key_id=registered.key_id)
    try:
        if earlier is None:
            write_asked(storage, ticket, run_key)
    except AlreadyExists:
        earlier = read_asked(storage, run, run_key)
    if earlier is not None:
        _refuse_other(earlier, ticket, parameters)
        return earlier
    return ticket


def _earlier(flow: str, home: Home, storage: Storage, idempotency_key: str | None) -> AskedTicket | None:
    """The ticket of the run that was asked for with this key before: the run's id is made with the flow's key of then, and the
    flow may have been sealed with another since."""
    if idempotency_key is None:
        return None
    for master in home.keys.all:
        run = _run_id(idempotency_key, master.flow_key(flow))
        with suppress(NoSuchObject):
            return read_asked(storage, run, master.run_key(run))
    return None


def _loaded(seal: Seal) -> Flow[..., Any] | None:
    """The sealed flow, where its code loads here."""
    with suppress(FlowLoadError):
        loaded: Flow[..., Any] | object = load_code(seal)
        if isinstance(loaded, Flow):
            return cast("Flow[..., Any]", loaded)
    return None


def _sealed_parameters(seal: Seal, wish: Wish) -> dict[str, Any]:
    """Checked as far as the seal itself tells: names and defaults."""
    known = {parameter.name: parameter for parameter in seal.signature}
    for name in wish.parameters:
        if name not in known:
            refuse_unknown(seal.flow, name, list(known))
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in wish.parameters:
            given = wish.parameters[name]
            values[name] = text_or_json(str(given)) if wish.from_text else given
            check_serialisable(name, values[name])
        elif parameter.default is not None:
            values[name] = load(parameter.default)
        elif parameter.kind not in (ParameterKind.VAR_KEYWORD, ParameterKind.VAR_POSITIONAL):
            refuse_missing(seal.flow, name, hint=f"its parameters: {', '.join(known)}")
    return values


def _run_id(idempotency_key: str | None, flow_key: DerivedKey) -> RunId:
    """Random; or made of the idempotency key and the flow's own secret, so that nobody can tell one from the other."""
    if idempotency_key is None:
        return RunId(secrets.token_hex(RUN_ID_BYTES))
    mac = hmac.digest(flow_key.secret, b"run id\0" + idempotency_key.encode(), "sha256")
    return RunId(mac[:RUN_ID_BYTES].hex())


def _refuse_other(earlier: AskedTicket, ticket: AskedTicket, parameters: dict[str, Any]) -> None:
    """The same key must mean the same wish. Another seal is the same: the flow may have been registered anew since."""
    if earlier.labels != ticket.labels:
        what = "labels"
    elif earlier.parameters != ticket.parameters and not _equal(earlier.parameters, parameters):
        what = "parameters"
    else:
        return
    raise UsageError(
        f"the idempotency key was used before for run {earlier.run} of flow {earlier.flow}, with other {what}",
        hint="use another key for another run",
    )


def _equal(payload: bytes, parameters: dict[str, Any]) -> bool:
    """Whether the payload holds equal parameters: equal values may pickle differently in another process."""
    try:
        return bool(load(payload) == parameters)
    except UnloadableOutcome:
        return False
    except Exception:  # noqa: BLE001 — the values are the user's, and comparing them may raise anything
        return False


def _checked_labels(labels: frozenset[str]) -> tuple[str, ...]:
    if len(labels) > MAX_LABELS:
        raise UsageError(
            f"a run with {len(labels)} labels", hint=f"at most {MAX_LABELS}: those that an agent must have"
        )
    return tuple(sorted(check_name("label", label) for label in labels))


def _micros(at: datetime | None) -> int | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise UsageError(f"the time {at.isoformat()} has no time zone", hint="datetime(..., tzinfo=UTC)")
    micros = (at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    if not 0 <= micros <= MAX_MOMENT:
        raise UsageError(f"a run cannot be asked for at {at.isoformat()}", hint="a time between 1970 and 9999")
    return micros
