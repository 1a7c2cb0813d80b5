"""The rights that docs/how-to/postgresql.md names are enough, and not more than is needed is given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from playhead.core.names import Position, StreamName, Version
from playhead.errors import LogUnusable
from playhead.ports.store import Appended
from playhead_adapters.stores.postgres import open_url
from tests.log.samples import new
from tests.postgres.cluster import Cluster

pytestmark = pytest.mark.real

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "postgresql.md"
A = StreamName("default/run/a")


def statements(heading: str) -> list[str]:
    """The SQL of the block under a heading of the page."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")
    block = re.search(r"```sql\n(.*?)```", rest, re.DOTALL)
    assert block is not None, f"the page has no SQL under {heading!r}"
    return [statement.strip() for statement in block[1].split(";") if statement.strip()]


@pytest.fixture
def database(postgres: Cluster) -> str:
    """A database with the two roles of the page."""
    name = postgres.new_database()
    for role in ("playhead_owner", "playhead_server"):
        if not postgres.execute(f"SELECT FROM pg_roles WHERE rolname = '{role}'"):
            postgres.execute(f"CREATE ROLE {role} LOGIN")
    for statement in statements("Two roles"):
        if not statement.startswith("CREATE ROLE"):
            postgres.execute(statement.replace("DATABASE playhead", f"DATABASE {name}"), database=name)
    return name


async def test_the_owner_makes_the_log_and_a_server_serves_it_with_the_rights_of_the_page(
    database: str, postgres: Cluster
) -> None:
    url = postgres.url(database, user="playhead_server")
    with pytest.raises(LogUnusable, match="this role lacks a right"):
        await open_url(url)
    owner = await open_url(postgres.url(database, user="playhead_owner"))
    await owner.close()
    for statement in statements("What a server may do"):
        postgres.execute(statement, database=database)
    server = await open_url(url)
    try:
        assert isinstance((await server.commit([new(A, 2), new("default/run/b")]))[0], Appended)
        assert isinstance((await server.commit([new(A, expected=Version(2))]))[0], Appended)  # at a place that it knows
        assert len((await server.read_all(after=Position(0), limit=10)).events) == 4
        first = await server.lead("one", after=0)
        assert first is not None
        assert await server.lead("one", after=first) == first + 1
        await server.hear({"sign"})
        counted = await server.heard(after=0)
        assert counted.keys == {"sign"}
        await server.hear({"sign"})
        assert (await server.heard(after=counted.upto)).keys == {"sign"}
        assert await server.forget(A, upto=Version(3)) == 3
    finally:
        await server.close()


async def test_a_server_may_not_change_what_is_in_the_log(database: str, postgres: Cluster) -> None:
    owner = await open_url(postgres.url(database, user="playhead_owner"))
    await owner.close()
    for statement in statements("What a server may do"):
        postgres.execute(statement, database=database)
    for right in ("UPDATE", "TRUNCATE"):
        held = postgres.execute(
            f"SELECT has_table_privilege('playhead_server', 'playhead.appends', '{right}')", database=database
        )
        assert held == [(False,)], right
    assert postgres.execute(
        "SELECT has_schema_privilege('playhead_server', 'playhead', 'CREATE')", database=database
    ) == [(False,)]
