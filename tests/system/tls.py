"""A proxy that speaks TLS before a server on loopback, with a certificate of an authority made for one test. Owns its thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import trustme

END_SECONDS: Final = 20.0


@contextmanager
def tls_proxy(server_port: int, folder: Path) -> Generator[tuple[str, Path]]:
    """The URL under which the server can be had by TLS, and the file with the authority's certificate."""
    authority = trustme.CA()
    authority_file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(authority_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = authority.issue_cert("localhost")
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # it also takes what is not installed
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    listening: list[int] = []
    ready = threading.Event()

    async def serve() -> None:
        open_now: set[asyncio.StreamWriter] = set()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inner, outer = await asyncio.open_connection("127.0.0.1", server_port)
            both = {writer, outer}
            open_now.update(both)
            await asyncio.gather(_pass_on(reader, outer), _pass_on(inner, writer))
            open_now.difference_update(both)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
        listening.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ended.wait()
        server.close()
        for writer in open_now:
            writer.transport.abort()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        if carrying:
            await asyncio.wait(carrying, timeout=END_SECONDS)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="tls-proxy")
    thread.start()
    try:
        assert ready.wait(END_SECONDS)
        yield f"https://localhost:{listening[0]}", authority_file
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(END_SECONDS)
        assert not thread.is_alive()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
