"""The token that a user presents: where it is found, that nobody else could read it, whom it is sent to, and how it is replaced."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from playhead.client.client import Client
from playhead.client.http import HttpServer
from playhead.core.tokens import SECRET_BYTES, Scope, Token
from playhead.credentials import Credential, credential_for, is_loopback, read_token, write_token
from playhead.errors import PlayheadError, TrustError, Unauthenticated, UsageError
from playhead.settings import SECRET_VARIABLES, TOKEN_VARIABLE, Settings
from playhead.trust.keyfile import KEY_VARIABLE
from tests.server.scripted import ScriptedApi, recorded
from tests.server.serving import QUICK, serving, until

URL = "https://playhead.example.com"
FIRST, SECOND = (Token("laptop", bytes([fill]) * SECRET_BYTES) for fill in (1, 2))


def found(home: Path, url: str = URL, **env: str) -> Credential | None:
    variables = {"PLAYHEAD_HOME": str(home), **env}
    return credential_for(url, Settings.load(env=variables), env=variables)


def in_file(path: Path, token: Token = FIRST, mode: int = 0o600) -> str:
    path.write_text(f"{token.text}\n")
    path.chmod(mode)
    return str(path)


def test_a_variable_goes_before_a_file_and_nothing_is_nothing(tmp_path: Path) -> None:
    file = in_file(tmp_path / "token", SECOND)
    assert found(tmp_path) is None
    by_file = found(tmp_path, PLAYHEAD_TOKEN_FILE=file)
    assert by_file is not None
    assert by_file.header == f"Bearer {SECOND.text}"
    by_variable = found(tmp_path, PLAYHEAD_TOKEN_FILE=file, PLAYHEAD_TOKEN=f" {FIRST.text}\n")
    assert by_variable is not None
    assert by_variable.header == f"Bearer {FIRST.text}"


def test_the_file_can_be_named_in_the_settings_and_the_token_not_be_in_them(tmp_path: Path) -> None:
    file = in_file(tmp_path / "token")
    (tmp_path / "config.toml").write_text(f'token_file = "{file}"\n')
    assert found(tmp_path) is not None
    (tmp_path / "config.toml").write_text(f'token = "{FIRST.text}"\n')
    with pytest.raises(UsageError, match="holds a token") as raised:
        found(tmp_path)
    assert FIRST.text[-20:] not in str(raised.value)
    assert "token_file" in (raised.value.hint or "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    file = in_file(tmp_path / "token", mode=mode)
    with pytest.raises(TrustError, match="others than its owner") as raised:
        found(tmp_path, PLAYHEAD_TOKEN_FILE=file)
    assert f"chmod 600 {file}" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FIRST.text[:-1], "is not whole"),
        (FIRST.text[:-1] + "!", "is not whole"),
        ("hunter2-hunter2-hunter2", "is none of Playhead's"),
        ("", "is none of Playhead's"),
    ],
)
def test_what_is_no_token_is_told_without_it(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(TrustError, match=said) as raised:
        found(tmp_path, PLAYHEAD_TOKEN_FILE=str(file))
    assert str(file) in raised.value.message
    assert not text or text[-12:] not in str(raised.value)
    if text:
        with pytest.raises(TrustError, match=f"{TOKEN_VARIABLE} {said}") as raised:
            found(tmp_path, PLAYHEAD_TOKEN=text)
        assert text[-12:] not in str(raised.value)
        with pytest.raises(TrustError) as raised:
            Client(URL, token=text)
        assert text[-12:] not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none cannot be read"):
        found(tmp_path, PLAYHEAD_TOKEN_FILE=str(tmp_path / "none"))


def test_a_token_is_for_the_server_that_is_named_beside_it(tmp_path: Path) -> None:
    given = {"PLAYHEAD_TOKEN": FIRST.text, "PLAYHEAD_SERVER": URL + "/"}
    assert found(tmp_path, URL, **given) is not None
    assert found(tmp_path, "https://elsewhere.example.com", **given) is None
    assert found(tmp_path, "https://elsewhere.example.com", PLAYHEAD_TOKEN=FIRST.text) is not None


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://playhead.example.com", False),
        ("http://10.0.0.5:4317", False),
        ("http://[2001:db8::1]:4317", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost:4317", True),
        ("http://127.0.0.2:4317", True),
        ("http://[::1]:4317", True),
        ("https://10.0.0.5", True),
        ("unix:///run/playhead.sock", True),
    ],
)
def test_no_token_crosses_a_network_in_plain_text(tmp_path: Path, url: str, good: bool) -> None:
    if good:
        assert found(tmp_path, url, PLAYHEAD_TOKEN=FIRST.text) is not None
        return
    with pytest.raises(UsageError, match="plain text") as raised:
        found(tmp_path, url, PLAYHEAD_TOKEN=FIRST.text)
    assert "https://" in (raised.value.hint or "")
    assert found(tmp_path, url) is None, "without a token there is nothing to lose"
    assert found(tmp_path, url, PLAYHEAD_TOKEN=FIRST.text, PLAYHEAD_TOKENS_OVER_HTTP="true") is not None


def test_loopback_is_known_without_a_name_server() -> None:
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("", "localhost.", "0.0.0.0", "::", "playhead.example.com", "fe80::1%lo")))


def test_a_token_is_written_into_a_new_file_of_its_owners(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        write_token(tmp_path / "token", FIRST)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert read_token(tmp_path / "token") == FIRST
    with pytest.raises(UsageError, match="File exists"):
        write_token(tmp_path / "token", SECOND)
    assert read_token(tmp_path / "token") == FIRST


def test_what_no_user_code_may_have_in_its_environment() -> None:
    assert {KEY_VARIABLE, TOKEN_VARIABLE, "PLAYHEAD_TOKEN_FILE"} == set(SECRET_VARIABLES)


# --- in use -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api() -> ScriptedApi:
    return ScriptedApi()


Replace = Callable[[Token], None]


@pytest.fixture
def replace(api: ScriptedApi, tmp_path: Path) -> Replace:
    """Another token counts from now on, and stands in the file."""

    def replaced(token: Token) -> None:
        api.admission.scopes = {(token.name, token.digest): Scope.ADMIN}
        in_file(tmp_path / "token", token)

    return replaced


async def test_a_token_that_was_replaced_in_its_file_is_found_by_whoever_is_at_work(
    api: ScriptedApi, replace: Replace, tmp_path: Path
) -> None:
    replace(FIRST)
    credential = found(tmp_path, PLAYHEAD_TOKEN_FILE=str(tmp_path / "token"))
    async with serving(api, require_tokens=True) as url, HttpServer(url, patience=QUICK, token=credential) as http:
        await http.info()
        async with http.events() as pages:
            await api.add(recorded(1))
            assert (await anext(pages)).events
            replace(SECOND)
            await http.info()
            await api.add(recorded(2))  # the stream looks again before it hands this out
            assert [event.position for event in (await anext(pages)).events] == [2]
        api.admission.scopes.clear()
        with pytest.raises(Unauthenticated, match="no such token"):
            await http.info()


async def test_a_file_that_cannot_be_read_then_leaves_the_refusal_as_it_is(
    api: ScriptedApi, replace: Replace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replace(FIRST)
    credential = found(tmp_path, PLAYHEAD_TOKEN_FILE=str(tmp_path / "token"))
    async with serving(api, require_tokens=True) as url, HttpServer(url, patience=QUICK, token=credential) as http:
        api.admission.scopes.clear()
        (tmp_path / "token").chmod(0o644)
        with caplog.at_level(logging.WARNING), pytest.raises(Unauthenticated):
            await http.info()
    assert "others than its owner" in caplog.text
    assert FIRST.text[-20:] not in caplog.text


async def test_no_error_of_the_client_shows_the_token(api: ScriptedApi) -> None:
    async with serving(api, require_tokens=True) as url, HttpServer(url, patience=QUICK, token=FIRST) as http:
        with pytest.raises(Unauthenticated) as raised:
            await http.info()
        assert FIRST.text[-20:] not in f"{raised.value!r} {raised.value} {vars(raised.value)}"
    async with HttpServer(url, patience=QUICK, token=FIRST) as http:
        with pytest.raises(PlayheadError) as gone:
            await http.info()
        cause: BaseException | None = gone.value
        while cause is not None:
            assert FIRST.text[-20:] not in f"{cause!r} {cause}"
            cause = cause.__cause__


async def test_a_stream_without_a_token_is_refused_and_not_tried_for_ever(api: ScriptedApi) -> None:
    async with serving(api, require_tokens=True) as url, HttpServer(url, patience=QUICK) as http:
        with pytest.raises(Unauthenticated) as raised:
            async with http.events() as pages:
                await anext(pages)
        assert raised.value.code == "token_required"
        await until(lambda: api.subscriptions == 0)
