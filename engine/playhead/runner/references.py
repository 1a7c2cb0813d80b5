"""Large values by reference: how a worker writes one down in the run's storage, and how another reads it there. Workers import this.

A reference names an object and its digest, and the reader compares before it loads. No key is here: a worker signs nothing and decrypts
nothing. What of it counts is decided by the runner, which signs the record. BLIND.md section 3.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from playhead.core.names import Epoch, RunId, TaskKey
from playhead.errors import NoSuchObject, PlayheadError, StorageFull, StorageUnavailable, TrustError
from playhead.flows.future import TaskFuture, TaskFutures
from playhead.runner import held
from playhead.runner.binding import substitute
from playhead.trust.payload import PROTOCOL, ValuePickler, load

if TYPE_CHECKING:  # most workers never open a storage
    from playhead.journal.place import JournalPlace
    from playhead.ports.storage import Storage

INLINE_BYTES: Final = 32 * 1024  # a larger payload is an object of its own, so that journals stay quick to read
STORAGES_KEPT: Final = 16  # open in a worker: it may serve runs with several

_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Stored(NamedTuple):
    """A payload that a worker wrote into storage. `digest`: SHA-256, hexadecimal."""

    path: str
    digest: str
    size: int


class Unseen(NamedTuple):
    """The call was not begun: its worker does not see the storage that holds its arguments. `why` is for the user."""

    why: str


class NotSeen(Exception):
    """A worker cannot read in the run's storage."""


@dataclass(frozen=True, slots=True)
class Depot:
    """The run's storage as workers are told of it, and where in it this epoch's objects go. `insists`: no other way is wanted."""

    url: str
    storage_id: str
    run: str
    epoch: int
    grant: str
    insists: bool

    @staticmethod
    def of(storage: Storage, place: JournalPlace, *, insists: bool) -> Depot | None:
        """None: its URL holds a password, which must not go to a scheduler."""
        from urllib.parse import urlsplit

        if urlsplit(storage.url).password is not None:
            return None
        return Depot(storage.url, storage.id, place.run, place.epoch, place.grant, insists)

    def keep(self, key: TaskKey, attempt: int, payload: bytes) -> Stored | None:
        """Write the payload down, durable on return, under a name that nobody else uses. None: the runner must do so, as it waits where
        there is no room. StorageUnavailable: it cannot be done here, and no other way is wanted.
        """
        from concurrent.futures import ThreadPoolExecutor

        from playhead.journal.place import JournalPlace

        place = JournalPlace(RunId(self.run), Epoch(self.epoch), self.grant)
        path = place.blob(key, attempt, token_hex(8))
        with ThreadPoolExecutor(1) as beside:  # a digest takes as long as the writing does, and lets it go on
            digest = beside.submit(sha256, payload)
            try:
                self._storage.create_if_absent(path, payload)
            except StorageFull:
                return None
            except PlayheadError as error:
                if self.insists:
                    raise self._unavailable(error) from error
                return None
        held.hold(path, payload)
        return Stored(path, digest.result().hexdigest(), len(payload))

    def read(self, stored: Stored) -> bytes:
        """The payload, compared with its digest unless this worker still has it from the writing.

        NotSeen: not from here; as StorageUnavailable where no other way is wanted. TrustError: it is another.
        """
        at_hand = held.taken(stored.path)
        if at_hand is not None:
            return at_hand
        try:
            data = self._storage.read(stored.path)
        except PlayheadError as error:
            if self.insists and not isinstance(error, NoSuchObject):
                raise self._unavailable(error) from error
            raise NotSeen(error.message) from error
        if len(data) != stored.size or sha256(data).hexdigest() != stored.digest:
            raise TrustError(f"{stored.path} is not what was recorded; nothing of it was loaded")
        return data

    @property
    def _storage(self) -> Storage:
        return _opened(self.url, self.storage_id)

    def _unavailable(self, error: PlayheadError) -> StorageUnavailable:
        return StorageUnavailable(
            f"this worker does not see the run's storage {self.url}: {error.message}",
            hint='mount it where the workers run, or let results pass through the runner with persist="auto"',
        )


class Handed(NamedTuple):
    """Arguments with references in the place of futures, and what these refer to, by key."""

    arguments: bytes
    values: Mapping[TaskKey, bytes | Stored]

    def resolved(self, depot: Depot) -> _Arguments:
        """The arguments, each occurrence of a value loaded for itself. NotSeen and others as `Depot.read` raises them."""
        args, kwargs = load(self.arguments, "the arguments")
        read: dict[TaskKey, bytes] = {}

        def value_of(reference: Reference) -> Any:
            key = reference.key
            if key not in read:
                value = self.values[key]
                read[key] = value if isinstance(value, bytes) else depot.read(value)
            return load(read[key], f"the result of task {key}")

        return substitute(args, value_of, kinds=(Reference,)), substitute(kwargs, value_of, kinds=(Reference,))


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands in arguments for the result of a task."""

    key: TaskKey


def hand(arguments: _Arguments, value_of: Callable[[TaskKey], bytes | Stored]) -> Handed:
    """Pickle arguments with references in the place of futures. Raises what pickling a user's values raises."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, PROTOCOL)
    pickler.dump(arguments)
    return Handed(buffer.getvalue(), {key: value_of(key) for key in pickler.keys})


class _Pickler(ValuePickler):
    """Writes references for futures, which do not pickle themselves."""

    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.keys: dict[TaskKey, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, TaskFuture):
            key: TaskKey = obj.key
            self.keys[key] = None
            return Reference, (key,)
        if isinstance(obj, TaskFutures):
            return list, (list(obj),)  # pyright: ignore[reportUnknownArgumentType] — what it holds is of no matter here
        return super().reducer_override(obj)


@lru_cache(maxsize=STORAGES_KEPT)
def _opened(url: str, storage_id: str) -> Storage:
    """Nothing is made where it is missing; an error is not remembered."""
    from playhead.storage import open_storage

    return open_storage(url, expect_id=storage_id)
