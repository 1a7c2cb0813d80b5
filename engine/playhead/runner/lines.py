"""A run's log lines on their way to storage: gathered, and appended a few times a second. Loose: a crash may lose the last of them."""

from __future__ import annotations

import threading
from base64 import b64encode
from typing import Final

from playhead.errors import StorageError
from playhead.journal.place import ENCRYPTED_LINE, JournalPlace
from playhead.ports.storage import Storage
from playhead.trust.cipher import Cipher

MAX_WAITING_BYTES: Final = 8 * 1024 * 1024  # a flow that logs faster than storage takes it loses lines, not memory


class LineFile:
    """Thread safe. `write` never blocks and never fails a task. `cipher`: what is appended at once is one encrypted line."""

    def __init__(self, storage: Storage, place: JournalPlace, cipher: Cipher | None = None) -> None:
        self._storage = storage
        self._path = place.log_lines
        self._cipher = cipher
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._size = 0
        self._lost = 0

    def write(self, line: bytes) -> None:
        with self._lock:
            if self._size + len(line) > MAX_WAITING_BYTES:
                self._lost += 1
                return
            self._waiting.append(line)
            self._size += len(line)

    def flush(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            data, self._waiting, self._size = b"".join(self._waiting), [], 0
            lost, self._lost = self._lost, 0
        try:
            self._storage.append_loose(self._path, self._encoded(data))
        except StorageError:
            with self._lock:
                self._lost += lost + data.count(b"\n")

    def _encoded(self, data: bytes) -> bytes:
        if self._cipher is None:
            return data
        return ENCRYPTED_LINE + b64encode(self._cipher.encrypt(data, self._path.encode())) + b"\n"
