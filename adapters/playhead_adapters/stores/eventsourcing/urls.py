"""From a URL to an open backend: `eventsourcing:<persistence module>?<SETTING>=<value>&...`. Owns the settings; reads and writes nothing.

The module is any of the library's or of others that can be imported, named as in the library's PERSISTENCE_MODULE; its settings are the
module's own, from the URL and then from the environment. Two are of the bridge: `NAME`, which modules put before the names of their
tables, so that several logs fit into one database; and `SUBSCRIBE=yes`, which follows the recorder's subscription.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
from eventsourcing.persistence import InfrastructureFactory, InfrastructureFactoryError
from eventsourcing.utils import Environment, strtobool

from playhead.errors import UsageError
from playhead.ports.store import StoreBackend
from playhead_adapters.stores.eventsourcing.backend import attend, open_recorder
from playhead_adapters.stores.eventsourcing.reader import told


async def open_url(url: str) -> StoreBackend:
    """UsageError: no such module, or settings that it does not take; LogUnusable: its database cannot be used."""
    module, _, query = url.partition(":")[2].partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    if not module:
        raise UsageError(
            "the URL names no persistence module",
            hint="for example eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME=/path/log.db",
        )
    settings = {**os.environ, "ORIGINATOR_ID_TYPE": "text", **given}
    subscribe = _switch(given, "SUBSCRIBE")
    if _switch(settings, "POSTGRES_ENABLE_DB_FUNCTIONS"):
        raise UsageError(
            "POSTGRES_ENABLE_DB_FUNCTIONS is set",
            hint="unset it: with it a reader that follows the log can lose events",
        )
    factory = await anyio.to_thread.run_sync(_factory, module, given.get("NAME", ""), settings)
    try:
        attend(factory)  # before there are connections
        with told("opened"):
            recorder = await anyio.to_thread.run_sync(factory.application_recorder)
        uuids = settings["ORIGINATOR_ID_TYPE"].lower() == "uuid"
        return await open_recorder(recorder, uuids=uuids, subscribe=subscribe, close=factory.close)
    except BaseException:
        await anyio.to_thread.run_sync(factory.close)
        raise


def _switch(settings: Mapping[str, str], name: str) -> bool:
    try:
        return strtobool(settings.get(name) or "no")
    except ValueError as error:
        raise UsageError(f"{name} is neither yes nor no", hint=f"write {name}=yes, or leave it out") from error


def _factory(module: str, name: str, settings: Mapping[str, str]) -> InfrastructureFactory[Any]:
    environment = Environment(name, {**settings, "PERSISTENCE_MODULE": module})
    try:
        factory: InfrastructureFactory[Any] = InfrastructureFactory[Any].construct(environment)
    except (InfrastructureFactoryError, OSError, ValueError, AssertionError) as error:
        # An import that failed, under a TopicError
        because = error.__cause__.__cause__ if error.__cause__ is not None else None
        raise UsageError(
            f"the persistence module {module!r} cannot be opened: {because or error}",
            hint="look at its name and settings, and install what it needs",
        ) from error
    return factory
