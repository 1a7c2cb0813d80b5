"""A home's keys: made once and durable, kept private, told apart by id, and refused with a reason."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playhead.errors import StorageUnavailable, TrustError
from playhead.trust.keyfile import KEY_FILE, load_or_create
from playhead.trust.keys import DerivedKey, KeyRing, MasterKey

secrets_32 = st.binary(min_size=32, max_size=32)


def test_the_first_use_makes_a_private_durable_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    home = tmp_path / "home"
    ring = load_or_create(home, {})
    path = home / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert len(synced) == 3, "the home's entry, the key and the key's entry"
    assert load_or_create(home, {}) == ring
    assert len(synced) == 3, "an existing key is only read"


def test_many_first_users_get_one_key(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    rings: list[KeyRing] = []

    def first() -> None:
        start.wait(10)
        rings.append(load_or_create(tmp_path / "home", {}))

    threads = [threading.Thread(target=first, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(rings) == 8
    assert len({ring.current.id for ring in rings}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create(tmp_path, {})
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(TrustError, match="chmod 600"):
        load_or_create(tmp_path, {})
    with pytest.raises(TrustError, match="chmod 600"):
        load_or_create(tmp_path, {"PLAYHEAD_KEY": str(tmp_path / KEY_FILE)})


@pytest.mark.parametrize("content", ["", "\n", "no key\n", "playhead-key-short\n", "\x00\xff", "# only a comment\n"])
def test_a_file_without_a_key_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(TrustError, match="does not hold keys"):
        load_or_create(tmp_path, {})
    assert path.read_text() == content


def test_one_bad_line_spoils_the_ring(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(f"{MasterKey.random().export()}\nplayhead-key-cut\n")
    path.chmod(0o600)
    with pytest.raises(TrustError, match="each line"):
        load_or_create(tmp_path, {})


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable) as caught:
        load_or_create(tmp_path / "file" / "home", {})
    assert caught.value.hint


@given(secret=secrets_32)
def test_a_key_s_text_reads_back(secret: bytes) -> None:
    key = MasterKey(secret)
    for text in (key.export(), base64.urlsafe_b64encode(secret).decode(), base64.b64encode(secret).decode()):
        assert MasterKey.parse(text) == key
        assert MasterKey.parse(f" {text}\n") == key
    assert MasterKey.parse(key.export()[:-1]) is None
    derived = key.run_key("r")
    assert DerivedKey.parse(derived.export()) == derived


@pytest.mark.parametrize(
    "text", ["", "x", "playhead-derived-", "playhead-derived-0123-x", MasterKey(b"k" * 32).export()]
)
def test_what_is_no_derived_key_is_refused(text: str) -> None:
    with pytest.raises(TrustError):
        DerivedKey.parse(text)


def test_a_path_is_not_taken_for_a_key() -> None:
    assert MasterKey.parse("/" + "a" * 42) is None


def test_the_variable_wins_over_the_home(tmp_path: Path) -> None:
    key = MasterKey.random()
    assert load_or_create(tmp_path / "home", {"PLAYHEAD_KEY": key.export()}) == KeyRing(key)
    assert not (tmp_path / "home").exists()
    elsewhere = load_or_create(tmp_path / "elsewhere", {})
    assert load_or_create(tmp_path, {"PLAYHEAD_KEY": str(tmp_path / "elsewhere" / KEY_FILE)}) == elsewhere


def test_a_mistyped_key_is_not_shown(tmp_path: Path) -> None:
    text = MasterKey.random().export()[:-1]
    with pytest.raises(TrustError, match="PLAYHEAD_KEY") as caught:
        load_or_create(tmp_path, {"PLAYHEAD_KEY": text})
    assert text not in str(caught.value)


def test_a_ring_finds_older_keys_and_names_what_it_has(tmp_path: Path) -> None:
    new, old = MasterKey.random(), MasterKey.random()
    path = tmp_path / KEY_FILE
    path.write_text(f"{new.export()}\n{old.export()}\n")
    path.chmod(0o600)
    ring = load_or_create(tmp_path, {})
    assert ring == KeyRing(new, (old,))
    assert ring.by_id(old.id) == old
    assert ring.run_key("r") == new.run_key("r")
    assert ring.flow_key("f", key_id=old.id) == old.flow_key("f")
    with pytest.raises(TrustError, match=f"{new.id}, {old.id}"):
        ring.by_id("00" * 8)


@given(secret=secrets_32, name=st.text(max_size=10), other=st.text(max_size=10))
def test_derived_keys_are_apart(secret: bytes, name: str, other: str) -> None:
    key = MasterKey(secret)
    assert key.flow_key(name) != key.run_key(name)
    assert (key.run_key(name) == key.run_key(other)) == (name == other)
    assert secret not in (key.run_key(name).secret, bytes.fromhex(key.id))


def test_no_secret_is_in_a_repr() -> None:
    key = MasterKey(b"S" * 32)
    for shown in (repr(key), repr(key.run_key("r")), repr(KeyRing(key))):
        assert "SSSS" not in shown
        assert key.run_key("r").secret.hex() not in shown
        assert repr(key.run_key("r").secret) not in shown
