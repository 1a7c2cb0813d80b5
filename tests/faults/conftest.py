from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import Machine, machine


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Machine]:
    """A home of its own, and nothing left running at the end."""
    with machine(tmp_path) as started:
        yield started
