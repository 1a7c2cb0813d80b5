"""Verification finds what somebody, or a disk, did to a log, and finds nothing in a log that is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from playhead.core.names import Version
from playhead.log.memory import MemoryBackend
from playhead.log.sqlite import url_for
from playhead.upkeep import Verified, opened_to_read, verify
from playhead.upkeep.verifying import SHOWN
from tests.upkeep.places import Plain, spoil, sqlite_log
from tests.upkeep.samples import commit, fill, run_appends, stream_of


async def looked_at(path: Path) -> Verified:
    async with opened_to_read(url_for(path)) as backend:
        return await verify(backend)


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    async with sqlite_log(path) as backend:
        await fill(backend)
    return path


async def test_a_whole_log_is_sound(log: Path) -> None:
    steps: list[tuple[int, int]] = []
    async with opened_to_read(url_for(log)) as backend:
        result = await verify(backend, progress=lambda done, whole: steps.append((done, whole)))
        head = await backend.head()
    assert (result.sound, result.findings) == (True, [])
    assert (result.head, result.events, result.streams, result.chained_from) == (head, head, 8, 1)
    assert steps[-1] == (head, head)


async def test_every_kind_of_store_is_verified_as_far_as_it_goes() -> None:
    for backend in (MemoryBackend(), Plain()):
        await fill(backend)
        result = await verify(backend)
        assert (result.sound, result.streams) == (True, 8)
        assert result.chained_from == (1 if isinstance(backend, MemoryBackend) else None)


async def test_an_empty_log_is_sound() -> None:
    result = await verify(MemoryBackend())
    assert (result.sound, result.head, result.chained_from) == (True, 0, None)


LAST = "(SELECT max(position) FROM appends)"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (
            'UPDATE appends SET body = replace(body, \'"name":"parse"\', \'"name":"other"\') WHERE append_id = \'1.0\'',
            "link",
        ),
        ("UPDATE appends SET recorded_at = recorded_at + 1 WHERE position = 4", "link"),
        ("UPDATE appends SET link = NULL WHERE position = 4", "the append has no link"),
        (f"UPDATE appends SET link = zeroblob(32) WHERE position = {LAST}", "link"),
        ("DELETE FROM appends WHERE position = 4", "are gone, and were not forgotten"),
        (f"DELETE FROM appends WHERE position = {LAST}", "are gone, and were not forgotten"),
        ("UPDATE appends SET version = version + 50 WHERE append_id = '1.end'", "follows on"),
        ("UPDATE appends SET body = '[[\"run.invented\",1,{}]]' WHERE append_id = 'registered'", "run.invented"),
        ("UPDATE appends SET body = '[[\"run.ready\",1,{}]]' WHERE append_id = '1.end'", "run.ready"),
        ("UPDATE appends SET body = 'nonsense' WHERE position = 4", "cannot be read"),
    ],
)
async def test_what_was_done_to_a_log_is_found(log: Path, damage: str, what: str) -> None:
    spoil(log, damage)
    result = await looked_at(log)
    assert not result.sound
    assert any(what in finding.what for finding in result.findings), result.findings
    assert all(finding.hint for finding in result.findings)


async def test_one_change_in_the_middle_is_one_finding_and_says_where(log: Path) -> None:
    spoil(log, "UPDATE appends SET actor = (SELECT max(id) FROM names) WHERE position = 4")
    (finding,) = (await looked_at(log)).findings
    assert (finding.position, finding.stream, finding.version) == (4, stream_of(0), 2)


async def test_an_append_that_was_made_up_is_found_though_its_numbers_fit(log: Path) -> None:
    """Somebody takes the newest event out, and puts another in its place."""
    made_up = "append_id = 'made up', epoch = NULL, first_seq = NULL, body = '[[\"run.cancelling\",1,{}]]'"
    spoil(log, f"UPDATE appends SET {made_up} WHERE position = {LAST}")
    result = await looked_at(log)
    (finding,) = result.findings
    assert "link" in finding.what


async def test_what_was_forgotten_is_no_finding_and_a_hole_beside_it_is(log: Path) -> None:
    async with sqlite_log(log) as backend:
        newest = (await backend.read_stream(stream_of(0), after=Version(0), limit=100))[-1]
        await backend.forget(stream_of(0), upto=newest.version)
    assert (await looked_at(log)).sound
    spoil(log, "DELETE FROM appends WHERE position = (SELECT min(position) FROM appends WHERE append_id = 'part.0')")
    assert not (await looked_at(log)).sound


async def test_a_log_that_began_without_a_chain_says_from_where_on_it_has_one(log: Path) -> None:
    spoil(log, "UPDATE appends SET link = NULL")
    assert (await looked_at(log)).chained_from is None
    async with sqlite_log(log) as backend:
        head = await backend.head()
        await commit(backend, run_appends(99))
    result = await looked_at(log)
    assert (result.sound, result.chained_from) == (True, head + 1)


async def test_many_findings_are_counted_and_the_first_are_shown(log: Path) -> None:
    async with sqlite_log(log) as backend:
        for number in range(100, 130):
            await commit(backend, run_appends(number))
    spoil(log, "UPDATE appends SET link = zeroblob(32)")
    result = await looked_at(log)
    assert result.found > len(result.findings) == SHOWN
