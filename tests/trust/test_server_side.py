"""What runs on the server never loads this package: it unpickles, and holds keys."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["playhead.service.service", "playhead.server.app", "playhead.log", "playhead.log.sqlite"]
)
def test_the_server_s_modules_load_no_trust(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "found = [m for m in sys.modules if m.split('.')[:2] in (['playhead', 'trust'], ['playhead', 'storage'])]\n"
        "print(*found, *(m for m in ('cloudpickle',) if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert out.split() == []
