"""Tokens on the command line: made before any server listens, shown once, listed without their secrets, revoked."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest

from playhead.core.tokens import Token
from playhead.credentials import read_token
from playhead.ports.server import MAX_TOKEN_SECONDS
from tests.cli.conftest import Call

DAY = 86_400


def test_the_first_token_needs_no_server_and_is_shown_alone(call: Call) -> None:
    made = call("token", "create", "anna", "--scope", "admin")
    assert made.code == 0, made.err
    token = Token.parse(made.out.strip())
    assert token.name == "anna"
    assert "only time" in made.err
    assert token.text[-20:] not in made.err
    listed = call("token", "list")
    assert "anna" in listed.out
    assert token.text[-20:] not in listed.out + listed.err
    assert token.digest not in call("token", "list", "--json").out


def test_the_shapes_of_their_json(call: Call) -> None:
    made = call("token", "create", "ci", "--scope", "client", "--expires", "12h", "--json").json
    assert made.keys() == {"name", "scope", "state", "created_at", "expires_at", "revoked_at", "token"}
    assert Token.parse(made["token"]).name == "ci"
    (listed,) = call("token", "list", "--json").json
    assert listed == {name: value for name, value in made.items() if name != "token"}
    revoked = call("token", "revoke", "ci", "--json").json
    assert (revoked["state"], revoked["revoked_at"] is not None) == ("revoked", True)
    assert call("token", "list", "--json").json == [revoked]


def test_a_token_in_a_file_is_its_owners_alone_and_not_printed(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "gpu.token"
    made = call("token", "create", "gpu-1", "--scope", "agent", "--to", file, "--json")
    assert made.json["file"] == str(file)
    token = read_token(file)
    assert token.text not in made.out + made.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = call("token", "create", "gpu-2", "--scope", "agent", "--to", file)
    assert (again.code, "File exists" in again.err) == (2, True)
    assert read_token(file) == token
    assert [view["name"] for view in call("token", "list", "--json").json] == ["gpu-1"]


def test_a_token_that_was_not_made_leaves_no_file(call: Call, tmp_path: Path) -> None:
    call("token", "create", "ci", "--scope", "client")
    refused = call("token", "create", "ci", "--scope", "admin", "--to", tmp_path / "t")
    assert (refused.code, "live token 'ci'" in refused.err) == (2, True)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("token", "create", "a b", "--scope", "client"), "cannot be the name of a token"),
        (("token", "create", "ci", "--scope", "client", "--expires", "soon"), "is not a span"),
        (("token", "create", "ci", "--scope", "client", "--expires", "0d"), "cannot count for 0d"),
        (("token", "create", "ci", "--scope", "client", "--expires", f"{MAX_TOKEN_SECONDS // DAY + 1}d"), "366d"),
        (("token", "create", "ci", "--scope", "runner"), "runner"),
        (("token", "create", "ci"), "--scope"),
        (("token", "revoke", "nobody"), "no token named 'nobody'"),
        (("--token-file", "none.token", "--server", "http://127.0.0.1:9", "runs"), "--server"),
    ],
)
def test_what_cannot_be_is_told_with_what_to_do(call: Call, arguments: tuple[str, ...], said: str) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert said in answer.err


def test_the_longest_life_is_a_year_and_the_usual_one_a_quarter(call: Call) -> None:
    for name, more, days in (("usual", (), 90), ("longest", ("--expires", "366d"), 366)):
        made = call("token", "create", name, "--scope", "viewer", *more, "--json").json
        assert _days_between(made["created_at"], made["expires_at"]) == days


def test_the_token_of_another_server_is_not_shown_to_this_home(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be unknown there, and refused: a home's own log asks nobody who can open it."""
    monkeypatch.setenv("PLAYHEAD_TOKEN", Token("elsewhere", bytes(32)).text)
    assert call("runs", "--json").json == []


def test_a_server_is_not_opened_to_others_while_nobody_has_a_token(call: Call) -> None:
    for more in (("--host", "0.0.0.0"), ("--allowed-host", "playhead.example.com")):
        refused = call("server", *more, "--port", "0")
        assert refused.code == 2
        assert "there is none by which anybody could use it" in refused.err
        assert "playhead token create" in refused.err


def test_a_file_of_a_token_is_looked_at_before_anything_is_asked(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("x")
    file.chmod(0o644)
    answer = call("--token-file", file, "runs", "--server", "http://127.0.0.1:9")
    assert (answer.code, f"chmod 600 {file}" in answer.err) == (2, True)
    doctor = call("--token-file", file, "doctor", "--server", "http://127.0.0.1:9", "--json")
    (found,) = [finding for finding in doctor.json if finding["part"] == "token"]
    assert found["health"] == "fail"
    assert call("runs", "--json").json == [], "what was said before one command is not said before the next"


def _days_between(first: str, last: str) -> float:

    return round((datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds() / DAY, 3)
