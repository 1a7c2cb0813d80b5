"""The pytest plugin: a home of its own for each test that asks for one. Imported by every pytest run, so it imports nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def playhead_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home, named in PLAYHEAD_HOME: flows that the test calls keep their log, storage and key there."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("PLAYHEAD_HOME", str(home))
    monkeypatch.delenv("PLAYHEAD_SERVER", raising=False)
    return home
