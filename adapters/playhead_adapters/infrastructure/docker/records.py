"""What an agent writes down of each container, in its own folder: where its output goes. One file for each; readable by its owner only.

    <home>/agents/<agent>/custodian               this agent's mark on its containers, made once
    <home>/agents/<agent>/<run>-<epoch>.json      written before the container is made, removed once its end was reported

A container without such a file is nobody's any more.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from playhead.agent.user_side import KeptOutput


class Records:
    """Synchronous; raises OSError as the system does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def custodian(self) -> str:
        """Random, so that agents of one name from two homes do not take each other's containers."""
        path = self._folder / "custodian"
        if not path.exists():
            _write(path, secrets.token_hex(16).encode())
        return path.read_text()

    def write(self, kept: KeptOutput) -> None:
        _write(self._path(kept.run, kept.epoch), kept.model_dump_json().encode())

    def read(self, run: str, epoch: int) -> KeptOutput | None:
        try:
            return KeptOutput.model_validate_json(self._path(run, epoch).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def remove(self, run: str, epoch: int) -> None:
        self._path(run, epoch).unlink(missing_ok=True)

    def all(self) -> Iterator[KeptOutput]:
        for path in sorted(self._folder.glob("*-*.json")):
            run, _, epoch = path.stem.partition("-")
            kept = self.read(run, int(epoch)) if epoch.isdecimal() else None
            if kept is not None:
                yield kept

    def _path(self, run: str, epoch: int) -> Path:
        return self._folder / f"{run}-{epoch}.json"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(f"{path.name}+")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    unfinished.replace(path)
