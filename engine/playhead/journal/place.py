"""Where a run's journals are in storage, and what their objects are called. Names only."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from playhead.core.names import Epoch, RunId, TaskKey

# Letters of a key in a file's name: a key may have 512, and file systems take 255 with all the rest
MAX_NAME: Final = 160
# Begins a line of the log that is base64 of encrypted lines; one that is not begins with a brace
ENCRYPTED_LINE: Final = b"!"


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """The folder of one epoch's journal. It belongs to one grant, so no two runners ever share it."""

    run: RunId
    epoch: Epoch
    grant: str

    @property
    def folder(self) -> str:
        return f"runs/{self.run}/{self.epoch}-{self.grant}"

    @property
    def fence(self) -> str:
        """An object here ends the journal: what its owner writes from then on does not count."""
        return f"{self.folder}/fence"

    @property
    def log_lines(self) -> str:
        return f"{self.folder}/log"

    @property
    def output(self) -> str:
        """What a container wrote to stdout and stderr: loose, as the lines are."""
        return f"{self.folder}/output"

    @property
    def report(self) -> str:
        """What the executor told of itself at the end, where it was asked to: an envelope, as `journal.report` has it."""
        return f"{self.folder}/report"

    @property
    def segments(self) -> str:
        return f"{self.folder}/segments"

    def segment(self, number: int) -> str:
        return f"{self.segments}/{number:06d}"

    @property
    def blobs(self) -> str:
        """What the paths of its objects begin with."""
        return f"{self.folder}/blobs/"

    def blob(self, key: TaskKey, attempt: int, nonce: str) -> str:
        """A name that carries the execution, so that a late worker of an old epoch cannot overwrite anything."""
        name = key.replace("/", "=")
        if len(name) > MAX_NAME:
            name = f"{name[:MAX_NAME]}={sha256(key.encode()).hexdigest()[:16]}"
        return f"{self.blobs}{name}-{attempt}-{self.epoch}-{nonce}"
