"""A proxy between a server and everybody who asks it, which loses answers and repeats requests. Owns what it does to HTTP; knows no route.

In this process, one thread for each connection. What it carried is told by kind: the method, and the path with its ids as `*`.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS: Final = 60.0
PIECE_BYTES: Final = 64 * 1024
IDS: Final = re.compile(r"/(runs|agents|flows)/[^/]+")
OF_ANY: Final = r"/\1/*"
OWN_HEADERS: Final = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})
STREAMS: Final = ("/api/events", "/history")


class Mischief(Enum):
    LOSES = "the first answer of each kind is lost, after the server did what was asked"
    REPEATS = "each command comes twice, and the second answer is given"
    REPEATS_LATE = "each command comes once more after the next of its kind, and nobody hears of it"


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server_url: str, mischief: Mischief) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.behind = urlsplit(server_url)
        self.mischief = mischief
        self.carried: Counter[str] = Counter()
        self.tampered: Counter[str] = Counter()
        self.unlike: list[str] = []  # repeated commands that were answered otherwise than before
        self._lock = threading.Lock()
        self._last: dict[str, Request] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A side that hangs up is what proxies live with."""

    def answer(self, request: Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse] | None:
        """The server's answer, unread; None where it is to be lost."""
        with self._lock:
            self.carried[request.kind] += 1
            first = self.carried[request.kind] == 1
            earlier = self._last.get(request.kind)
            self._last[request.kind] = request
        match self.mischief:
            case Mischief.LOSES if first:
                self._ask_and_close(request)
                self.tampered[request.kind] += 1
                return None
            case Mischief.REPEATS if request.commands:
                status = self._ask_and_close(request)
                self.tampered[request.kind] += 1
                connection, response = self._ask(request)
                if response.status != status:
                    self.unlike.append(f"{request.kind}: {status}, then {response.status}")
                return connection, response
            case Mischief.REPEATS_LATE if request.commands and earlier is not None:
                connection, response = self._ask(request)
                self._ask_and_close(earlier)
                self.tampered[request.kind] += 1
                return connection, response
            case _:
                return self._ask(request)

    def _ask(self, request: Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        assert self.behind.hostname is not None
        connection = http.client.HTTPConnection(self.behind.hostname, self.behind.port, timeout=ANSWER_SECONDS)
        connection.request(request.method, request.path, request.body, request.headers)
        return connection, connection.getresponse()

    def _ask_and_close(self, request: Request) -> int:
        connection, response = self._ask(request)
        try:
            if not request.path.startswith(STREAMS[0]):  # of a stream its beginning is enough
                response.read()
            return response.status
        finally:
            connection.close()


class Request:
    def __init__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.method = method
        self.path = path
        self.body = body or None
        self.headers = headers
        self.commands = method != "GET"
        place = path.partition("?")[0].removeprefix("/api")
        self.kind = f"{method} {IDS.sub(OF_ANY, place)}"


class _Carrier(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy  # pyright: ignore[reportIncompatibleVariableOverride]  # only a Proxy makes carriers

    def do_GET(self) -> None:
        self._carry()

    def do_POST(self) -> None:
        self._carry()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — as the base class has it
        """Nothing: the tests look at `carried`."""

    def _carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        answered = self.server.answer(Request(self.command, self.path, body, kept))
        if answered is None:
            self.close_connection = True
            return
        connection, response = answered
        try:
            self._pass_on(response)
        finally:
            connection.close()

    def _pass_on(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        if self.path.partition("?")[0].endswith(STREAMS):
            self.send_header("connection", "close")
            self.end_headers()
            while piece := response.read1(PIECE_BYTES):
                self.wfile.write(piece)
            return
        body = response.read()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def proxied(server_url: str, mischief: Mischief) -> Generator[Proxy]:
    with Proxy(server_url, mischief) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, name="proxy", daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join(ANSWER_SECONDS)
