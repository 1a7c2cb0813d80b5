"""The canary can sing: a word that is planted in any disguise and any kind of place is found there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from playhead.trust.payload import dump
from tests.canary import places
from tests.canary.recorder import recorded, recorded_socket
from tests.canary.words import MARK, Found, find, find_mark, words

WORD = f"{MARK}_message"


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("word", [WORD, WORD.upper()])
def test_a_word_is_found_in_every_disguise(word: str, before: int) -> None:
    text = "ä/+?"[: before % 4] + "x" * before + word + " and more"
    plain = text.encode()
    disguised = {
        "plain": plain,
        "base64": base64.b64encode(plain),
        "base64 for URLs": base64.urlsafe_b64encode(plain),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "percent-encoded": urllib.parse.quote(text).encode(),
        "percent-encoded, lower": "".join(f"%{byte:02x}" for byte in plain).encode(),
        "percent-encoded, upper": "".join(f"%{byte:02X}" for byte in plain).encode(),
        "escaped, lower": "".join(f"\\u{ord(letter):04x}" for letter in text).encode(),
        "escaped, upper": "".join(f"\\u{ord(letter):04X}" for letter in text).encode(),
        "JSON": json.dumps({"inside": text}).encode(),
        "utf-16": text.encode("utf-16"),
        "utf-16-be": text.encode("utf-16-be"),
        "utf-32": text.encode("utf-32"),
        "pickled": dump([text]),
        "zlib": zlib.compress(plain, 9),
        "gzip": gzip.compress(plain),
        "packed in base64 in zlib": zlib.compress(base64.b64encode(plain)),
    }
    for name, data in disguised.items():
        assert list(find(b"\x00before" + data + b"behind")), name


@pytest.mark.parametrize("name", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize("form", [str.encode, json.dumps, repr, dump])
def test_a_digest_of_a_word_is_found(name: str, form: Callable[[str], str | bytes]) -> None:
    made = form(WORD)
    digest = hashlib.new(name, made if isinstance(made, bytes) else made.encode())
    short = digest.hexdigest()[:16]
    for data in (digest.digest(), digest.hexdigest().encode(), digest.hexdigest().upper().encode(), short.encode(),
                 base64.b64encode(digest.digest()), base64.urlsafe_b64encode(digest.digest())):  # fmt: skip
        assert list(find(b"before " + data + b" behind")), (name, data)


def test_nothing_is_found_where_nothing_is() -> None:
    harmless = os.urandom(1 << 16) + json.dumps(list(range(10_000))).encode() + zlib.compress(b"harmless" * 1_000)
    assert list(find(harmless)) == []


def test_every_word_has_the_mark_and_stands_in_the_source_or_around_it() -> None:
    planted = words()
    assert len(planted) > 50
    assert all(MARK in word.lower() for word in planted)


def test_a_word_is_found_in_files_and_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / f"{MARK}.txt").touch()
    database = sqlite3.connect(tmp_path / "some.db")
    database.execute("pragma journal_mode = wal")
    database.execute("create table t (a text)")
    database.execute("insert into t values (?)", (WORD,))
    database.commit()
    found = {Path(name).name for name, data in places.files_in(tmp_path) if list(find(data))}
    database.close()
    assert found == {f"{MARK}.txt", "some.db-wal"}


def test_a_word_is_found_in_a_process() -> None:
    """In its arguments, in its environment, and in memory that it has let go again."""
    program = "import sys; held = bytearray(b'zqxkan' + b'arie_in_memory') * 1000; print(flush=True); sys.stdin.read()"
    tries: list[tuple[list[str], dict[str, str], set[str]]] = [
        ([], {}, set()), ([WORD], {}, {"cmdline"}), ([], {"SOME": WORD}, {"environ"}),
    ]  # fmt: skip
    for arguments, environment, expected in tries:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                shown = {Path(name).name for name, data in places.process(process.pid) if _found(data)}
                assert shown == expected
                seen = [found for _, data in places.memory_of(process.pid) for found in find_mark(data)]
                assert any(b"arie_in_memory" in found.around for found in seen)
            finally:
                process.kill()


def test_a_word_is_found_in_either_direction_of_a_recording(tmp_path: Path) -> None:
    """Over TCP; over a unix socket cut into pieces of a letter each."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with recorded(f"http://127.0.0.1:{server.server_port}") as (url, recording):
            with urllib.request.urlopen(f"{url}/{WORD}", timeout=30) as answer:
                assert answer.read() == WORD.encode()
            assert [bool(_found(data)) for data in recording.bytes_of("asked")] == [True]
            assert [bool(_found(data)) for data in recording.bytes_of("answered")] == [True]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with recorded_socket(path) as recording, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            for letter in WORD:
                client.send(letter.encode())
            client.shutdown(socket.SHUT_WR)
            with listener.accept()[0] as met:
                while met.recv(100):
                    pass
            while client.recv(100):
                pass
            assert _found(recording.all())


def test_every_question_of_the_api_is_asked() -> None:
    paths = {route.path for route in places.questions()}
    assert {"/api/runs", "/api/runs/{run}", "/api/runs/{run}/history", "/api/events", "/api/flows/{name}"} <= paths


def _found(data: bytes) -> list[Found]:
    return list(find(data))


class _Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.path[1:].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
        """Nothing: the test's output is not the place."""
