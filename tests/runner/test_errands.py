"""What crosses to a worker once for all calls of a task, and what is said where it does not load there."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from playhead import Task
from playhead.errors import UnloadableOutcome
from playhead.runner.elsewhere import Errand, perform_elsewhere


def test_a_task_whose_module_a_worker_lacks_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_at_the_runner.py").write_text(
        "from playhead import task\n\n\n@task\ndef halved(x: int) -> float:\n    return x / 2\n"
    )
    with monkeypatch.context() as here:
        here.setattr(sys, "path", [str(tmp_path), *sys.path])
        halved: Task[[int], float] = import_module("only_at_the_runner").halved
        errand = Errand(halved, "a-run", "a-flow", datetime(2026, 1, 1, tzinfo=UTC), log_prints=False).to_bytes()
    monkeypatch.delitem(sys.modules, "only_at_the_runner")
    with pytest.raises(UnloadableOutcome) as raised:
        perform_elsewhere(errand, (1,), {}, "halved", 1)
    assert raised.value.message == (
        "task halved does not load where it should run: ModuleNotFoundError: No module named 'only_at_the_runner'"
    )
    assert raised.value.hint == "install what tasks import where the executor's workers run, in the same version"
