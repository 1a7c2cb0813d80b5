from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_input.world import Desk, copied_desk, new_desk


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests counts, and no test writes into their home."""
    for name in ("SERVER", "STORAGE", "STORE", "CONFIG", "KEY", "LEASE_SECONDS"):
        monkeypatch.delenv(f"PLAYHEAD_{name}", raising=False)
    monkeypatch.setenv("PLAYHEAD_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def first_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return new_desk(tmp_path_factory.mktemp("bad-input") / "home")


@pytest.fixture
def desk(first_desk: Desk, tmp_path: Path) -> Desk:
    """A home of the test's own, in which a run has ended well."""
    return copied_desk(first_desk, tmp_path / "home")
