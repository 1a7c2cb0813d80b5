"""The URL of a PostgreSQL log: what is read from it, and that no password in it is ever told."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from playhead.errors import UsageError
from playhead_adapters.stores.postgres.address import SCHEMA, parse


def test_the_schema_is_taken_out_and_the_rest_is_libpqs() -> None:
    address = parse("postgresql://me@db.example:5433/logs?schema=team%20a&sslmode=verify-full")
    assert address.schema == "team a"
    given = conninfo_to_dict(address.conninfo)
    assert (given["host"], given["port"], given["dbname"], given["user"]) == ("db.example", "5433", "logs", "me")
    assert given["sslmode"] == "verify-full"


def test_who_does_not_answer_is_given_up() -> None:
    given = conninfo_to_dict(parse("postgres://db.example/logs?connect_timeout=2").conninfo)
    assert given["connect_timeout"] == "2"
    assert {"tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"} <= given.keys()


def test_a_log_is_in_a_schema_of_its_own_by_default() -> None:
    assert parse("postgresql:///logs").schema == SCHEMA
    one, other = (parse(f"postgresql:///logs?schema={name}").channel for name in ("a" * 63, "b"))
    assert one != other
    assert max(len(one), len(other)) <= 63, "the server would cut a longer name"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:geheim@host/db?schema=",
        "postgresql://me:geheim@host/db?schema=a&schema=b",
        "postgresql://me:geheim@host/db?schema=pg_catalog",
        "postgresql://me:geheim@host/db?schema=" + "x" * 64,
        "postgresql://me:geheim@host/db?no_such_word=1",
        "postgresql://me:geheim@[host/db",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(url)
    assert "geheim" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_address_is_told_without_its_password() -> None:
    address = parse("postgresql://me:geheim@db.example:5433/logs?sslpassword=auch")
    assert str(address) == "db.example:5433/logs (schema playhead)"
    assert "geheim" not in repr(address)
    assert "auch" not in repr(address)
