"""A registry of one small image that asks for a name and a password. Owns one listening socket on loopback, and tells what it was asked."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

NAME: Final = "private/empty"
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry(ThreadingHTTPServer):
    """`authorization`: as `docker login` keeps it. `asked`: how often it told which layers the image has."""

    def __init__(self, authorization: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authorization = authorization
        self.asked = 0
        self.answers = _image()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def image(self) -> str:
        return f"{self.host}/{NAME}:1"

    def handle_error(self, request: object, client_address: object) -> None:
        """An engine tries TLS first, and breaks off what it does not understand."""


@contextmanager
def private_registry(user: str, password: str) -> Generator[Registry]:
    with Registry(base64.b64encode(f"{user}:{password}".encode()).decode()) as registry:
        thread = threading.Thread(target=registry.serve_forever, name="registry")
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Says nothing."""

    def _answer(self, *, body: bool) -> None:
        registry = self.server
        assert isinstance(registry, Registry), "its only server"
        if self.headers.get("Authorization") != f"Basic {registry.authorization}":
            self._send(401, "application/json", b"{}", {"WWW-Authenticate": 'Basic realm="tests"'}, body=body)
            return
        kind, data = registry.answers.get(self.path, ("", b""))
        if self.path == "/v2/":
            self._send(200, "application/json", b"{}", {}, body=body)
        elif data:
            registry.asked += kind == _MANIFEST
            self._send(200, kind, data, {"Docker-Content-Digest": _digest(data)}, body=body)
        else:
            self._send(404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {}, body=body)

    def _send(self, status: int, kind: str, data: bytes, more: Mapping[str, str], *, body: bool) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), **more}
        for name, value in {**headers, "Docker-Distribution-Api-Version": "registry/2.0"}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


def _image() -> Mapping[str, tuple[str, bytes]]:
    """Kind and bytes by path, of an image with one file in it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"))
    layer = gzip.compress(packed.getvalue(), mtime=0)
    config = _json(
        architecture="amd64", os="linux", config={}, rootfs={"type": "layers", "diff_ids": [_digest(packed.getvalue())]}
    )
    manifest = _json(
        schemaVersion=2, mediaType=_MANIFEST, config=_described(_CONFIG, config), layers=[_described(_LAYER, layer)]
    )
    base = f"/v2/{NAME}"
    blobs = {f"{base}/blobs/{_digest(data)}": (kind, data) for kind, data in ((_CONFIG, config), (_LAYER, layer))}
    names = ("1", _digest(manifest))
    return {**blobs, **{f"{base}/manifests/{name}": (_MANIFEST, manifest) for name in names}}


def _described(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
