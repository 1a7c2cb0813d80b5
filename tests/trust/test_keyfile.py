"""The file of keys: changed as a whole or not at all, by one process at a time, and seen by those that have it open."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from playhead.errors import StorageUnavailable, TrustError, UsageError
from playhead.trust import keyfile
from playhead.trust.keyfile import KEY_FILE, KEY_VARIABLE, KeyFile, export, parse_ring
from playhead.trust.keys import MAX_KEYS, KeyRing, MasterKey


def test_a_new_key_signs_and_the_older_ones_verify(tmp_path: Path) -> None:
    file, new = KeyFile(tmp_path, {}), MasterKey.random()
    first = file.read().current
    ring = file.change(lambda ring: ring.signing_with(new))
    assert ring == KeyRing(new, (first,)) == KeyFile(tmp_path, {}).read()
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_whoever_has_the_keys_open_sees_a_change(tmp_path: Path) -> None:
    mine, theirs, new = KeyFile(tmp_path, {}), KeyFile(tmp_path, {}), MasterKey.random()
    before = mine.current()
    assert theirs.current() == before
    theirs.change(lambda ring: ring.signing_with(new))
    assert mine.current().current == new
    (tmp_path / KEY_FILE).unlink()
    assert mine.current().current == new, "a file that is gone takes nothing from who has read it"


@pytest.mark.parametrize("dies_in", ["fsync", "replace"])
def test_a_death_in_the_midst_of_a_change_leaves_the_keys_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    file = KeyFile(tmp_path, {})
    before = file.read()

    def dies(*_: object) -> None:
        raise OSError(5, "the power went away")

    with monkeypatch.context() as patched:
        patched.setattr(os, dies_in, dies)
        with pytest.raises(StorageUnavailable, match="write the keys"):
            file.change(lambda ring: ring.signing_with(MasterKey.random()))
    assert KeyFile(tmp_path, {}).read() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY_FILE, f"{KEY_FILE}.lock"]
    assert file.change(lambda ring: ring.signing_with(MasterKey.random())).older == before.all


def test_a_change_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    file = KeyFile(tmp_path, {})
    before = file.read()

    def refuse(_: KeyRing) -> KeyRing:
        raise UsageError("no")

    with pytest.raises(UsageError):
        file.change(refuse)
    assert file.read() == before


def test_of_many_changes_at_once_none_is_lost(tmp_path: Path) -> None:
    new = [MasterKey.random() for _ in range(8)]
    start = threading.Barrier(len(new))

    def change(key: MasterKey) -> None:
        start.wait(10)
        KeyFile(tmp_path, {}).change(lambda ring: ring.signing_with(key))

    threads = [threading.Thread(target=change, args=(key,), daemon=True) for key in new]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ring = KeyFile(tmp_path, {}).read()
    assert len(ring.all) == len(new) + 1
    assert set(new) < set(ring.all)


def test_a_key_in_the_variable_cannot_be_changed_and_a_file_that_it_names_can(tmp_path: Path) -> None:
    key = MasterKey.random()
    with pytest.raises(UsageError, match=KEY_VARIABLE):
        KeyFile(tmp_path / "home", {KEY_VARIABLE: key.export()}).change(lambda ring: ring)
    named = tmp_path / "named"
    export([key], named)
    ring = KeyFile(tmp_path / "home", {KEY_VARIABLE: str(named)}).change(lambda r: r.signing_with(MasterKey.random()))
    assert ring.older == (key,)
    assert not (tmp_path / "home").exists()


def test_an_export_is_private_and_writes_over_nothing(tmp_path: Path) -> None:
    keys = (MasterKey.random(), MasterKey.random())
    out = tmp_path / "out"
    export(keys, out)
    assert out.stat().st_mode & 0o777 == 0o600
    assert parse_ring(out.read_text(), "out").all == keys
    with pytest.raises(UsageError, match="not written over"):
        export(keys, out)


def test_a_ring_has_a_limit_which_the_file_can_hold(tmp_path: Path) -> None:
    file = KeyFile(tmp_path, {})
    for _ in range(MAX_KEYS - 1):
        file.change(lambda ring: ring.signing_with(MasterKey.random()))
    assert len(keyfile.load_or_create(tmp_path, {}).all) == MAX_KEYS
    with pytest.raises(TrustError, match="forget"):
        file.change(lambda ring: ring.signing_with(MasterKey.random()))
    oldest = file.read().older[-1]
    assert oldest not in file.change(lambda ring: ring.without(oldest.id)).all
