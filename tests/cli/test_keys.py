"""The commands over keys: ids are shown, keys leave on demand only, and none is forgotten while somebody needs it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from playhead.trust.keyfile import KeyFile
from tests.cli.conftest import Call

FLOW = f"{Path(__file__).parent / 'sample_flows.py'}:squares"


def ring_of(home: Path) -> list[str]:
    return [key.id for key in KeyFile(home, {}).read().all]


def texts_of(home: Path) -> list[str]:
    return [key.export() for key in KeyFile(home, {}).read().all]


def test_show_tells_ids_and_no_key(call: Call, tmp_path: Path) -> None:
    call("key", "show")
    call("key", "rotate")
    shown = call("key", "show", "--json")
    assert [key["key_id"] for key in shown.json["keys"]] == ring_of(tmp_path / "home")
    assert [key["signs"] for key in shown.json["keys"]] == [True, False]
    assert shown.json["source"] == f"from the home {tmp_path / 'home'}"
    told = call("key", "show").out
    for text in texts_of(tmp_path / "home"):
        assert text not in shown.out
        assert text.removeprefix("playhead-key-") not in told


def test_a_ring_is_carried_to_another_home_in_a_private_file(call: Call, tmp_path: Path) -> None:
    call("key", "rotate")
    file = tmp_path / "keys"
    told = call("key", "export", "--out", file, "--json")
    assert told.json == {"key_ids": ring_of(tmp_path / "home"), "file": str(file)}
    assert file.stat().st_mode & 0o777 == 0o600
    assert call("key", "export", "--out", file).code == 2, "nothing is written over"
    other = tmp_path / "other"
    own = call("key", "show", "--home", other, "--json").json["key_id"]
    taken = call("key", "import", file, "--home", other, "--json").json
    assert taken == {"key_id": ring_of(tmp_path / "home")[0], "added": ring_of(tmp_path / "home")}
    assert ring_of(other) == [*ring_of(tmp_path / "home")[:1], own, *ring_of(tmp_path / "home")[1:]]
    assert call("key", "import", file, "--home", other, "--json").json["added"] == []


def test_keys_are_printed_on_demand_only(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("key", "export").code == 2
    assert call("key", "export", "--print", "--out", tmp_path / "both").code == 2
    printed = call("key", "export", "--print").out
    assert printed.split() == texts_of(tmp_path / "home")
    monkeypatch.setattr("sys.stdin", io.StringIO(printed))
    other = tmp_path / "other"
    assert call("key", "import", "-", "--home", other, "--verify-only", "--json").json["added"] == ring_of(
        tmp_path / "home"
    )
    assert ring_of(other)[0] not in ring_of(tmp_path / "home"), "it signs with its own key still"


def test_what_is_no_key_is_not_taken_in_and_not_repeated(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("playhead-key-cut\n")
    before = ring_of(tmp_path / "home")
    answer = call("key", "import", file)
    assert answer.code == 2
    assert "does not hold keys" in answer.err
    assert "playhead-key-cut" not in answer.err
    assert ring_of(tmp_path / "home") == before
    assert call("key", "import", tmp_path / "nowhere").code == 2


def test_a_rotation_seals_the_flows_anew_and_a_needed_key_is_not_forgotten(call: Call, tmp_path: Path) -> None:
    call("register", FLOW)
    old = ring_of(tmp_path / "home")[0]
    rotated = call("key", "rotate", "--json").json
    assert (rotated["resealed"], rotated["kept"]) == (["squares"], [])
    assert ring_of(tmp_path / "home") == [rotated["key_id"], old]
    assert call("key", "forget", rotated["key_id"]).code == 2, "it is in use"
    assert call("key", "forget", "no such").code == 2
    assert call("key", "forget", old[:6], "--json").json == {"forgotten": old}
    assert ring_of(tmp_path / "home") == [rotated["key_id"]]


def test_a_key_is_kept_while_a_run_needs_it(call: Call, tmp_path: Path) -> None:
    call("register", FLOW)
    ended = call("run", FLOW, "-p", "n=2", "--json").json["run_id"]
    old = ring_of(tmp_path / "home")[0]
    call("key", "rotate")
    refused = call("key", "forget", old, "--json")
    assert refused.code == 2
    assert ended in refused.error["message"]
    assert call("key", "forget", old, "--lose-results").code == 0
    assert call("show", ended).code == 0, "the facts are the server's, and need no key"


def test_a_rotation_that_was_cut_short_is_gone_on_with(call: Call, tmp_path: Path) -> None:
    call("register", FLOW)
    old = ring_of(tmp_path / "home")[0]
    seal = tmp_path / "home" / "storage" / "flows" / "squares"
    away = seal.rename(seal.with_name("away"))
    cut = call("key", "rotate", "--json")
    assert cut.code == 2
    assert [kept["flow"] for kept in cut.json["kept"]] == ["squares"]
    assert call("key", "forget", old).code == 2, "the flow is sealed with it"
    away.rename(seal)
    assert call("key", "reseal", "--json").json["resealed"] == ["squares"]
    assert call("key", "forget", old).code == 0
