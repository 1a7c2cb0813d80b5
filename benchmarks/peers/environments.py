"""The peers' environments: a venv each, in a folder that git ignores. Owns how they are installed, and whether they are there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.peers import Peer

ENVIRONMENTS: Final = Path(__file__).parent.parent.parent / ".bench-peers"
HOW_TO_INSTALL: Final = "make bench-peers"
INSTALL_SECONDS: Final = 600.0  # for one command of an installation
COMMON: Final = ("psutil>=6",)  # what the drivers need themselves

# Nothing is told to anybody while we measure, or install.
QUIET: Final[Mapping[str, str]] = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RESTATE_DISABLE_TELEMETRY": "1",
    "SCARF_ANALYTICS": "false",
}


def python(peer: Peer) -> Path:
    return ENVIRONMENTS / peer.name / ("Scripts" if os.name == "nt" else "bin") / "python"


def quiet_environ() -> dict[str, str]:
    return {**os.environ, **QUIET, "BENCH_PEERS": str(ENVIRONMENTS)}


def absence(peer: Peer) -> str | None:
    """Why a peer cannot be asked; None if it can be."""
    noted = _note(peer)
    if not noted.is_file():
        return f"not installed: {HOW_TO_INSTALL}"
    if json.loads(noted.read_text(encoding="utf-8")) != _wanted(peer):
        return f"another version is installed: {HOW_TO_INSTALL}"
    return None


def install(peer: Peer) -> None:
    """From the start, in a new environment. Raises `subprocess.CalledProcessError` where an index or a command refuses."""
    home = ENVIRONMENTS / peer.name
    _note(peer).unlink(missing_ok=True)
    venv.create(home, clear=True, with_pip=True)
    if peer.unpinned:
        _install_unpinned(peer)
    else:
        _pip(peer, *COMMON, *peer.requires)
    if peer.node:
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError(f"{peer.title} needs npm for {', '.join(peer.node)}")
        _run([npm, "install", "--prefix", str(home / "node"), "--no-save", "--ignore-scripts", "--no-fund", *peer.node])
    _note(peer).write_text(json.dumps(_wanted(peer)), encoding="utf-8")


def _install_unpinned(peer: Peer) -> None:
    """The peer without its requirements, then these by its own metadata, but any version of those that are unpinned."""
    _pip(peer, "--no-deps", *peer.requires)
    found = subprocess.run(
        [python(peer), "-c", _REQUIREMENTS, *peer.requires, "--", *peer.unpinned],
        check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS,
    )  # fmt: skip
    _pip(peer, *COMMON, *json.loads(found.stdout))


def _pip(peer: Peer, *arguments: str) -> None:
    _run([str(python(peer)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr, env=quiet_environ(), timeout=INSTALL_SECONDS)


def _note(peer: Peer) -> Path:
    """Written last, so that a half installation is none."""
    return ENVIRONMENTS / peer.name / "installed.json"


def _wanted(peer: Peer) -> list[str]:
    return [*COMMON, *peer.requires, *peer.node]


# pip's own copy of `packaging` knows which markers hold there; the venv has no other yet.
_REQUIREMENTS: Final = """
import json, sys
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
cut = sys.argv.index("--")
found = []
for name in sys.argv[1:cut]:
    for line in requires(Requirement(name).name) or ():
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            found.append(one.name if one.name in sys.argv[cut:] else line)
print(json.dumps(found))
"""
