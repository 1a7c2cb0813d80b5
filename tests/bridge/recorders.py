"""The persistence modules that the bridge is tried on: the library's own and somebody else's, each with a log that nobody has opened."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory
from eventsourcing.utils import Environment

from tests.postgres.cluster import SUPERUSER, Cluster


def sqlite(folder: Path, *, name: str = "bridge") -> str:
    return f"eventsourcing:eventsourcing.sqlite?SQLITE_DBNAME={folder}/{name}.db"


def sqlalchemy(folder: Path, *, name: str = "") -> str:
    """Knows only UUIDs."""
    return f"eventsourcing:eventsourcing_sqlalchemy?SQLALCHEMY_URL=sqlite:///{folder}/sqlalchemy.db&NAME={name}"


def postgres(cluster: Cluster, *, name: str | None = None) -> str:
    """Tables of its own in the cluster's first database. `name` may hold what stands for one that is made later."""
    settings = {**settings_of(cluster), "NAME": name or f"t{secrets.token_hex(6)}"}
    return "eventsourcing:eventsourcing.postgres?" + "&".join(f"{k}={quote(v, safe='{}')}" for k, v in settings.items())


def settings_of(cluster: Cluster) -> dict[str, str]:
    return {
        "POSTGRES_DBNAME": "postgres",
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(cluster.port),
        "POSTGRES_USER": SUPERUSER,
        "POSTGRES_PASSWORD": "none is asked for",
        "ORIGINATOR_ID_TYPE": "text",
    }


def opened(module: str, **settings: str) -> tuple[InfrastructureFactory[Any], ApplicationRecorder]:
    """A recorder as the library opens it, and what closes it."""
    name = f"t{secrets.token_hex(6)}"
    factory: InfrastructureFactory[Any] = InfrastructureFactory[Any].construct(
        Environment(name, {**settings, "PERSISTENCE_MODULE": module})
    )
    return factory, factory.application_recorder()
