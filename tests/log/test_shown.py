"""What of a store's URL is shown, and that a secret never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.log import without_secrets

SECRET = "Tr0ub4dor"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///var/lib/log.db?max_bytes=1000", "sqlite:///var/lib/log.db?max_bytes=1000"),
        ("sqlite:///srv/me:you@work/log.db", "sqlite:///srv/me:you@work/log.db"),
        ("memory:", "memory:"),
        ("my_package.store:open_url", "my_package.store:open_url"),
        ("postgresql://me@host:5432/db?schema=flows", "postgresql://me@host:5432/db?schema=flows"),
        (f"postgresql://me:{SECRET}@host:5432/db", "postgresql://me:***@host:5432/db"),
        (
            f"postgresql://host/db?user=me&password={SECRET}&schema=s",
            "postgresql://host/db?user=me&password=***&schema=s",
        ),
        (f"eventsourcing:a.module?POSTGRES_PASSWORD={SECRET}", "eventsourcing:a.module?POSTGRES_PASSWORD=***"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        f"postgres:me:{SECRET}@host/db",
        f"me:{SECRET}@host/db",
        f"{SECRET}@host",
        f"postgresql://me:a@b{SECRET}@host/db",
        f"postgresql://me:a/{SECRET}@host/db",
        f"postgresql://me:a?b=c&{SECRET}@host/db",
        f"postgresql://host:5432/db?password=a@{SECRET}",
    ],
)
def test_a_mistyped_url_hides_more_than_it_must(url: str) -> None:
    assert SECRET not in without_secrets(url)


@given(st.text(), st.text(), st.sampled_from(["postgresql://", "scheme:"]))
def test_no_password_has_letters_that_show_it(before: str, behind: str, scheme: str) -> None:
    assert SECRET not in without_secrets(f"{scheme}user:{before}{SECRET}{behind}@host/db")
