"""Imports point one way, and what runs on the server can neither unpickle nor open storage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.rooms import CALLS_BACK, MAY_IMPORT, SERVER_SIDE, Import, all_imports, imports_in, modules, room_of

UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
OURS = {"playhead", "playhead_adapters"}
NOT_IMPORTABLE = {"engine", "adapters", "tests", "benchmarks", "docs"}


def crossings(imports: Iterable[Import]) -> list[tuple[Import, str, str]]:
    """The imports from one room into another."""
    found: list[tuple[Import, str, str]] = []
    for each in imports:
        here, there = room_of(each.module), room_of(each.target)
        if here is not None and there is not None and here != there:
            found.append((each, here, there))
    return found


def forbidden(imports: Iterable[Import]) -> list[str]:
    """The crossings that the table does not allow, in words."""
    return [
        str(each)
        for each, here, there in crossings(imports)
        if there not in MAY_IMPORT[here] and not (each.late and (each.module, there) in CALLS_BACK)
    ]


def test_every_room_is_in_the_table() -> None:
    assert {room_of(name) for name in modules()} - {None} == set(MAY_IMPORT)


def test_the_table_is_in_order() -> None:
    above: set[str] = set()
    for room, allowed in MAY_IMPORT.items():
        assert set(allowed) <= above, f"{room} may import {set(allowed) - above}, which comes later"
        above.add(room)


def test_imports_follow_the_table() -> None:
    assert forbidden(all_imports()) == []


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {(here, there) for _, here, there in crossings(all_imports())}
    unused = {(here, there) for here, rooms in MAY_IMPORT.items() for there in rooms} - used
    assert unused == set(), "take these out of tests/rooms.py"
    late = {(each.module, there) for each, _, there in crossings(all_imports()) if each.late}
    assert set(CALLS_BACK) <= late


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("playhead.server.app", "from playhead.trust.keys import MasterKey"),
        ("playhead.service.service", "def late():\n    import playhead.storage"),
        ("playhead.core.decide", "from playhead import log"),
        ("playhead.flows.flow", "from playhead.embedded import run_embedded"),
        ("playhead.flows.task", "def late():\n    from playhead.embedded import run_embedded"),
        ("playhead.cli.app", "import playhead_adapters.stores.eventsourcing"),
        ("playhead.client.client", "try:\n    from playhead.testing import checks\nexcept ImportError:\n    pass"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert forbidden(imports_in(source, module, modules())) != []


def test_what_only_type_checkers_read_does_not_count() -> None:
    source = "if TYPE_CHECKING:\n    from playhead.agent.local import LocalAgent\nelse:\n    import playhead.errors"
    assert [each.target for each in imports_in(source, "playhead.engine", modules())] == ["playhead.errors"]


def test_nothing_imports_a_source_root() -> None:
    assert [str(each) for each in all_imports() if each.target.split(".")[0] in NOT_IMPORTABLE] == []


def test_the_server_side_stands_on_itself() -> None:
    for room in SERVER_SIDE:
        assert set(MAY_IMPORT[room]) <= set(SERVER_SIDE), f"{room} reaches the user's side"


def test_the_server_side_names_nothing_that_unpickles() -> None:
    named = [
        str(each)
        for each in all_imports()
        if room_of(each.module) in SERVER_SIDE and each.target.split(".")[0] in UNPICKLERS
    ]
    assert named == []


def test_a_process_of_the_server_side_loads_nothing_of_the_users_side() -> None:
    """As it really comes out, late imports of libraries included. (`pickle` itself is loaded by the standard library.)"""
    server_side = [name for name in modules() if room_of(name) in SERVER_SIDE]
    loaded = loaded_by(*server_side)
    assert set(server_side) <= loaded
    users = {name for name in loaded if room_of(name) not in {*SERVER_SIDE, None}}
    assert users == set()
    assert loaded & {"cloudpickle", "dill", "joblib"} == set()


def test_importing_playhead_imports_nothing_more() -> None:
    """Its names are imported when they are first used: a program that only asks for the version starts at once."""
    ours = {name for name in loaded_by("playhead") if name.split(".")[0] in OURS}
    assert ours == {"playhead"}


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it imported these."""
    code = f"import sys, {', '.join(names)}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    return set(done.stdout.split())
