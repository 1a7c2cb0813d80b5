"""Where a log is: a libpq URL, and the schema in it. Owns what is read from the URL, and how it is told without a password."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from playhead.errors import UsageError

SCHEMA: Final = "playhead"  # where the URL names none

# A server that is gone, or does not answer, is given up in bounded time: libpq's own words, for what the URL does not set.
DEFAULTS: Final = {
    "application_name": "playhead",
    "connect_timeout": "5",  # seconds
    "tcp_user_timeout": "10000",  # milliseconds that what was sent may stay unacknowledged
    "keepalives_idle": "5",  # seconds of silence before the first look
    "keepalives_interval": "2",
    "keepalives_count": "3",
}

_SECRETS: Final = ("password", "sslpassword", "passfile", "sslkey")
_HINT: Final = (
    "write postgresql://user@host:5432/database?schema=playhead; a password belongs into a password file (PGPASSFILE)"
)


@dataclass(frozen=True, slots=True)
class Address:
    conninfo: str  # in libpq's own form; may hold a password
    schema: str

    @property
    def channel(self) -> str:
        """On which news of this log are told: one for each schema of a database. A channel's name is short, a schema's may not be."""
        return f"playhead_{hashlib.sha256(self.schema.encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        """For messages: which server, database and schema."""
        told = conninfo_to_dict(self.conninfo)
        host = told.get("host") or told.get("hostaddr") or "localhost"
        port = f":{told['port']}" if "port" in told else ""
        return f"{host}{port}/{told.get('dbname') or told.get('service') or ''} (schema {self.schema})"

    def __repr__(self) -> str:
        return f"<Address {self}>"


def parse(url: str) -> Address:
    """The address of a URL `postgresql://...`, with libpq's parameters and `schema`. UsageError: it is none; the URL is not repeated."""
    base, _, query = url.partition("?")
    parts = query.split("&") if query else []
    schemas = [unquote(part.removeprefix("schema=")) for part in parts if part.startswith("schema=")]
    rest = "&".join(part for part in parts if not part.startswith("schema="))
    schema = schemas[0] if schemas else SCHEMA
    if len(schemas) > 1 or not schema or "\0" in schema or len(schema.encode()) > 63 or schema.startswith("pg_"):
        raise UsageError("the URL of the PostgreSQL log names no usable schema", hint=_HINT)
    base = re.sub(r"^[a-z]+:(//)?", "postgresql://", base, count=1)
    try:
        given = conninfo_to_dict(f"{base}?{rest}" if rest else base)
    except (ProgrammingError, UnicodeError):
        # Neither chained nor repeated: libpq's message would show a part of the URL, which may be the password.
        raise UsageError("this is not the URL of a PostgreSQL log", hint=_HINT) from None
    return Address(make_conninfo(**{**DEFAULTS, **given, "client_encoding": "UTF8"}), schema)  # type: ignore[arg-type]  # words of libpq


def without_secrets(url: str) -> str:
    """The URL as it may be shown."""
    shown = re.sub(r"(?<=//)([^/?#@:]*):[^/?#]*@", r"\1@", url)
    return re.sub(rf"(?<=[?&])({'|'.join(_SECRETS)})=[^&]*", r"\1=...", shown)
