"""The conformance suite of `playhead.ports.storage`: what every storage must do, as named checks. Needs no pytest.

    results = await check_storage(lambda: open_storage("s3://bucket/folder"))
    failed = [result for result in results if not result.passed]

The checks make objects of their own below a fresh folder and leave them there: a storage has no way to delete. They try what
can be seen from outside; that a flush reaches the medium is for the adapter's own tests.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial

from anyio import to_thread

from playhead.errors import AlreadyExists, NoSuchObject, UsageError
from playhead.ports.storage import STORAGE_MARKER, Storage
from playhead.testing.checks import CheckFailed, CheckResult, Suite, expect

WRITERS = 4  # threads that race in a check
ROUNDS = 20
LARGE = 512 * 1024  # bytes: more than any one buffer on the way
EVERY_BYTE = bytes(range(256))
BAD_PATHS = ("", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.", "a b", "a\\b", "a\n", "ä", "a+b", "a:b", "a" * 256)


@dataclass(frozen=True)
class Place:
    """The subject: how to open the same storage again and again, and a folder in it that no other check uses."""

    open: Callable[[], Storage]
    folder: str


async def check_storage(open_again: Callable[[], Storage], *, only: Collection[str] | None = None) -> list[CheckResult]:
    """Try the checks, or those named by `only`. `open_again` opens the same storage each time, as another process would."""
    return await STORAGE_SUITE.run(Place(open_again, f"conformance/{secrets.token_hex(8)}"), only=only)


STORAGE_SUITE: Suite[Place] = Suite("storage")


def _in_a_thread(check: Callable[[Place], None]) -> Callable[[Place], None]:
    """Register a check of this synchronous port: it runs in a thread, so that one which hangs meets its limit."""

    async def run(place: Place) -> None:
        own = Place(place.open, f"{place.folder}/{check.__name__}")
        await to_thread.run_sync(check, own, abandon_on_cancel=True)

    run.__name__ = check.__name__
    STORAGE_SUITE.check(run)
    return check


@_in_a_thread
def the_id_is_kept(place: Place) -> None:
    """Every opening has the same id, and the marker in the root holds it."""
    first, second = place.open(), place.open()
    expect(re.fullmatch(r"[0-9a-f]{8,64}", first.id), f"{first.id!r} is no id: 8 to 64 hexadecimal digits")
    expect(first.id == second.id, "two openings of one storage have different ids")
    expect(first.read(STORAGE_MARKER).decode().strip() == first.id, "the marker object does not hold the id")


@_in_a_thread
def objects_read_back(place: Place) -> None:
    storage = place.open()
    for name, data in {"empty": b"", "bytes": EVERY_BYTE, "large": EVERY_BYTE * (LARGE // 256)}.items():
        storage.create_if_absent(f"{place.folder}/{name}", data)
        expect(place.open().read(f"{place.folder}/{name}") == data, f"{name} reads back as something else")
    expect(storage.read(f"{place.folder}/bytes", start=250) == EVERY_BYTE[250:], "start= does not skip as many bytes")
    expect(storage.read(f"{place.folder}/bytes", start=256) == b"", "start= at the end is not empty")
    expect(storage.read(f"{place.folder}/bytes", start=1000) == b"", "start= behind the end is not empty")


@_in_a_thread
def a_second_create_is_refused(place: Place) -> None:
    path = f"{place.folder}/once"
    place.open().create_if_absent(path, b"first")
    for storage in (place.open(), place.open()):
        _expect_raises(AlreadyExists, partial(storage.create_if_absent, path, b"second, longer"), "a second create")
    expect(place.open().read(path) == b"first", "a refused create changed the object")


@_in_a_thread
def one_of_many_creators_wins(place: Place) -> None:
    def create(number: int, path: str, start: threading.Barrier, won: list[bytes]) -> None:
        storage, data = place.open(), b"%d" % number * 1000
        start.wait(10)
        try:
            storage.create_if_absent(path, data)
        except AlreadyExists:
            return
        won.append(data)

    for round_ in range(ROUNDS):
        path = f"{place.folder}/race-{round_}"
        start = threading.Barrier(WRITERS)
        won: list[bytes] = []

        _together(partial(create, number, path, start, won) for number in range(WRITERS))
        expect(len(won) == 1, f"{len(won)} of {WRITERS} callers were told that they created the object")
        expect(place.open().read(path) == won[0], "the object is not the winner's")


@_in_a_thread
def nobody_reads_half_an_object(place: Place) -> None:
    data = secrets.token_bytes(LARGE)
    done = threading.Event()
    half: list[int] = []

    def watch() -> None:
        storage = place.open()
        while not done.is_set():
            for path in paths:
                try:
                    seen = storage.read(path)
                except NoSuchObject:
                    continue
                if seen != data:
                    half.append(len(seen))

    def create() -> None:
        storage = place.open()
        try:
            for path in paths:
                storage.create_if_absent(path, data)
        finally:
            done.set()

    paths = [f"{place.folder}/whole-{number}" for number in range(ROUNDS)]
    _together([watch, create])
    expect(not half, f"a reader saw {half[:1]} of {LARGE} bytes")


@_in_a_thread
def appends_are_seen_in_order(place: Place) -> None:
    path = f"{place.folder}/grows"
    file = place.open().open_append(path)
    written = b""
    try:
        expect(place.open().read(path) == b"", "a new object is not there, or not empty")
        for number in range(ROUNDS):
            part = b"%d," % number * (number * 100)
            file.append(part)
            written += part
            expect(place.open().read(path) == written, f"append {number} is not behind those before it")
        expect(place.open().read(path, start=len(written) - 1) == written[-1:], "start= does not skip as many bytes")
    finally:
        file.close()
    expect(place.open().read(path) == written, "closing changed the object")
    file.close()


@_in_a_thread
def what_another_wrote_can_be_settled(place: Place) -> None:
    """While its writer still has it open, and it goes on as before."""
    path = f"{place.folder}/settled"
    file = place.open().open_append(path)
    try:
        for number in range(3):
            file.append(b"%d" % number)
            place.open().settle(path)
        expect(place.open().read(path) == b"012", "settling an object changed it, or stopped its writer")
    finally:
        file.close()


@_in_a_thread
def an_append_object_is_new(place: Place) -> None:
    """Of one writer from its first byte: neither appending nor creating takes a name that is taken."""
    storage = place.open()
    path = f"{place.folder}/segment"
    storage.open_append(path).close()
    _expect_raises(AlreadyExists, lambda: place.open().open_append(path), "open_append on an append object")
    _expect_raises(AlreadyExists, lambda: place.open().create_if_absent(path, b"x"), "create over an append object")
    storage.create_if_absent(f"{place.folder}/created", b"x")
    _expect_raises(
        AlreadyExists, lambda: place.open().open_append(f"{place.folder}/created"), "open_append on a created object"
    )
    expect(place.open().read(f"{place.folder}/created") == b"x", "a refused open_append changed the object")


@_in_a_thread
def exists_sees_what_others_create(place: Place) -> None:
    """Asked before and after: an answer must not be remembered, neither for an object nor for its folder."""
    storage, other = place.open(), place.open()
    for path in (f"{place.folder}/fence", f"{place.folder}/deep/er/fence", f"{place.folder}/deep/er/second"):
        expect(not storage.exists(path), "an object exists that nobody created")
        other.create_if_absent(path, b"")
        expect(storage.exists(path), "an object that another opening created is not seen")
    expect(not storage.exists(f"{place.folder}/deep"), "a folder counts as an object")


@_in_a_thread
def what_is_missing_is_named(place: Place) -> None:
    storage = place.open()
    path = f"{place.folder}/nothing/here"
    _expect_raises(NoSuchObject, lambda: storage.read(path), "reading what is not there")
    _expect_raises(NoSuchObject, lambda: storage.settle(path), "settling what is not there")
    expect(not storage.exists(path), "what is not there exists")
    expect(list(storage.list(f"{place.folder}/nothing")) == [], "a folder that is not there is not empty")
    storage.create_if_absent(path, b"")
    _expect_raises(NoSuchObject, lambda: storage.read(f"{place.folder}/nothing"), "reading a folder")


@_in_a_thread
def list_is_recursive_and_sorted(place: Place) -> None:
    storage = place.open()
    inside = sorted(
        f"{place.folder}/a/{name}" for name in ("z", "b/c/d", "b/c.d", "B", "b=1", "1/2/3/4", "b-", "log", "~2")
    )
    for path in reversed(inside):
        storage.create_if_absent(path, b"x")
    storage.append_loose(inside[0], b"more")
    for path in ("ab/outside", "a.b", "b"):
        storage.create_if_absent(f"{place.folder}/{path}", b"x")
    found = list(place.open().list(f"{place.folder}/a"))
    expect(set(found) >= set(inside), f"list leaves out {sorted(set(inside) - set(found))}")
    expect(
        set(found) <= set(inside), f"list tells of {sorted(set(found) - set(inside))}, which is not below the folder"
    )
    expect(found == inside, "list is not sorted, or tells of an object twice")
    expect(set(inside) <= set(place.open().list("")), "the whole storage's list leaves out objects")


@_in_a_thread
def loose_appends_stay_whole(place: Place) -> None:
    """Lines of several writers at once: each is there, once, in one piece."""
    path = f"{place.folder}/log"
    start = threading.Barrier(WRITERS)

    def write(number: int) -> None:
        storage = place.open()
        start.wait(10)
        for line in range(ROUNDS):
            storage.append_loose(path, b"%d " % number * 2000 + b"%d\n" % line)

    _together(partial(write, number) for number in range(WRITERS))
    lines = sorted(place.open().read(path).split(b"\n")[:-1])
    expected = sorted(b"%d " % number * 2000 + b"%d" % line for number in range(WRITERS) for line in range(ROUNDS))
    expect(lines == expected, "lines of several writers are mixed, lost or doubled")


@_in_a_thread
def bad_paths_are_refused(place: Place) -> None:
    storage = place.open()
    for path in BAD_PATHS:
        for method in (storage.read, storage.exists, storage.open_append):
            _expect_raises(UsageError, partial(method, path), f"{method.__name__}({path!r})")
        for writer in (storage.create_if_absent, storage.append_loose):
            _expect_raises(UsageError, partial(writer, path, b""), f"{writer.__name__}({path!r})")
        if path:
            _expect_raises(UsageError, partial(storage.list, path), f"list({path!r})")


def _expect_raises(kind: type[Exception], action: Callable[[], object], what: str) -> None:
    try:
        action()
    except kind:
        return
    except Exception as error:
        raise CheckFailed(f"{what} raised {type(error).__name__} and not {kind.__name__}: {error}") from error
    raise CheckFailed(f"{what} did not raise {kind.__name__}")


def _together(actions: Iterable[Callable[[], None]]) -> None:
    """Run the actions in a thread each, and raise what the first of them raised."""
    raised: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 — it is raised again in the check's own thread
            raised.append(error)

    threads = [threading.Thread(target=run, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
