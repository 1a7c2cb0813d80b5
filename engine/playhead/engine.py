"""`Engine`: log, service and agent inside the caller's own asyncio program. Owns their order of opening and closing.

It runs in the loop that enters it, installs no signal handler and no loop policy, and imports the HTTP server only where
something is served.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from playhead.client.client import Client
from playhead.errors import ServerError, UsageError
from playhead.home import Home
from playhead.log import Log
from playhead.ports.access import Guarded
from playhead.ports.server import ServerApi
from playhead.ports.store import StoreBackend
from playhead.service import Service, ServiceSettings
from playhead.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

SOCKET: Final = "engine.sock"
MAX_SOCKET_PATH: Final = 100  # bytes; Linux takes 107, macOS 103


class Attachable(Protocol):
    """What an engine can run beside its service: an agent. `url` is where the runners that it launches find the server.

    `home` and `storage` are the engine's own, for an agent that was given none: so both sides have one key and one storage.
    """

    def attach(
        self, api: ServerApi, url: str | None, *, home: Path | None = None, storage: str | None = None
    ) -> AbstractAsyncContextManager[object]: ...


class Engine:
    """A whole Playhead: `async with Engine("sqlite:///var/playhead.db") as engine: await engine.client.runs()`.

    * `store`: a URL (`memory:`, `sqlite:///PATH`, another scheme's) or an open backend, which the engine then owns.
    * `agent`: runs the flows. Its runners reach the engine by a unix socket.
    * `storage`: URL of the storage in which `client` seals flows and finds results; an agent has its own settings.
    * `home`: a folder of this engine's own, for that socket, the read models and the client's key; without it the socket is in a
      temporary folder, the read models are made anew from the log at each start, and the key is the user's.

    Leaving ends the agent first, then the service, then the log. An engine is entered once.
    """

    def __init__(
        self,
        store: str | StoreBackend,
        *,
        storage: str | None = None,
        agent: Attachable | None = None,
        home: Path | None = None,
        settings: ServiceSettings | None = None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._agent = agent
        self._home = home
        self._settings = settings
        self._service: Service | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._service is not None:
            raise UsageError("this engine is running already", hint="make one Engine for each `async with`")
        async with AsyncExitStack() as stack:
            read_models = None
            if self._home is not None:
                self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
                read_models = self._home / "views.db"
            log = await stack.enter_async_context(Log.open(self._store))
            service = Service(log, read_models=read_models, settings=self._settings)
            self._service = await stack.enter_async_context(service)
            if self._agent is not None:
                url = await stack.enter_async_context(self._served_privately())
                await stack.enter_async_context(
                    self._agent.attach(service, url, home=self._home, storage=self._storage)
                )
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._open.__aexit__(kind, error, trace)
        finally:
            self._service = None

    @property
    def api(self) -> ServerApi:
        """The service, in this process. Raises ServerError while the engine is not running."""
        return self._guarded

    @property
    def _guarded(self) -> Guarded:
        if self._service is None:
            raise ServerError(
                "the engine is not running",
                hint="enter it first: `async with engine`, or FastAPI(lifespan=engine.lifespan)",
            )
        return self._service

    @property
    def client(self) -> Client:
        """A client of this engine, without HTTP. Usable while the engine runs; there is nothing to open.

        It seals and signs on the user's side: with the key in the engine's `home`, or the user's own where it has none.
        """
        if self._home is None and self._storage is None:
            return Client(self.api)
        given = {"home": self._home, "storage": self._storage}
        flags = {name: str(value) for name, value in given.items() if value is not None}
        return Client(self.api, home=Home.open(Settings.load(flags)))

    def asgi(self, *, require_tokens: bool = False) -> Starlette:
        """An ASGI app of the engine, to mount in another. May be made before the engine runs; until then it answers 503.

        Where the other app listens, and whom it lets through, is its own matter: whoever reaches this one can command the engine,
        unless `require_tokens`. A token that comes with a request is checked in any case.

        A foreign server that stops waits for open event streams; each ends by itself within a minute.
        """
        from playhead.server.app import create_app

        return create_app(lambda: self._guarded, require_tokens=require_tokens)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncGenerator[None]:
        """For `FastAPI(lifespan=engine.lifespan)`: the engine runs while the app does."""
        async with self:
            yield

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        allowed_hosts: Iterable[str] = (),
        require_tokens: bool = False,
    ) -> AbstractAsyncContextManager[str]:
        """Serve the engine's API by HTTP while the block runs; gives its URL. Port 0 takes a free one.

        `allowed_hosts`: names under which others ask it, beside loopback's and the address itself. Where there are such names, or
        others can reach the address, tokens are required; elsewhere if `require_tokens`. Raises UsageError where the address cannot
        be had, or tokens are required and nobody has one.
        """
        from playhead.server.serve import DEFAULT_PORT, reaches_others, serve

        names = tuple(allowed_hosts)
        app = self.asgi(require_tokens=require_tokens or reaches_others(host, names))
        return serve(app, host, DEFAULT_PORT if port is None else port, allowed_hosts=names)

    @asynccontextmanager
    async def _served_privately(self) -> AsyncGenerator[str]:
        """A socket that only this user may open: in the home, where runners that outlive this process find its successor."""
        from playhead.server.serve import serve

        with ExitStack() as folders:
            folder = self._home
            if folder is None or len(bytes(folder.absolute() / SOCKET)) > MAX_SOCKET_PATH:
                folder = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="playhead-")))
            async with serve(self.asgi(), uds=folder / SOCKET) as url:
                yield url
