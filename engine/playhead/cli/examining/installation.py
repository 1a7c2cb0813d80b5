"""The installation, looked at: this interpreter and the packages that it has."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from playhead.ports.examination import Finding, Health

SHOWN_PACKAGES: Final = ("playhead", "pydantic", "anyio", "aiohttp", "starlette", "uvicorn", "cloudpickle")


def installation() -> list[Finding]:
    return [_python(), _packages()]


def _python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.platform == "win32":
        return Finding("python", Health.FAIL, text, "run Playhead in WSL")
    return Finding("python", Health.OK, text)


def _packages() -> Finding:
    found: list[str] = []
    for name in SHOWN_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            return Finding("packages", Health.FAIL, f"{name} is not installed", "pip install playhead")
    return Finding("packages", Health.OK, ", ".join(found))
