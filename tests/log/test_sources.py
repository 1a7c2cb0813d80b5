"""The wrong ways to plug a store in, and what each is told: the author reads it, so it names what is wrong and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playhead.core.names import LogId, Position
from playhead.errors import UsageError
from playhead.log import Log, open_backend, source_of
from playhead.log.memory import MemoryBackend
from playhead.ports.store import Capability, StoreBackend

Install = Callable[[str, str, str], None]

WORKING = "from playhead.log.memory import MemoryBackend\n\nasync def open_url(url): return MemoryBackend()\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package of one module, as pip would: with its module's source, and an entry point `toy`."""

    def installed(package: str, module: str, source: str) -> None:
        folder = tmp_path / package
        info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[playhead.event_stores]\ntoy = {module}:open_url\n")
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)  # pyright: ignore[reportUnknownMemberType]  # pytest does not say what it takes

    before = set(sys.modules)
    yield installed
    for name in set(sys.modules) - before:
        if name.startswith("toy"):
            del sys.modules[name]


async def refused(url: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        await open_backend(url)
    return caught.value


async def test_an_installed_scheme_opens_and_is_known_by_its_package(install: Install) -> None:
    install("toy-package", "toy_store", WORKING)
    backend = await open_backend("toy://anywhere")
    assert type(backend) is MemoryBackend
    await backend.close()
    source = source_of("toy://anywhere")
    assert (source.scheme, source.package, source.version) == ("toy", "toy-package", "1.2")


async def test_the_nearest_scheme_is_named(install: Install) -> None:
    install("toy-package", "toy_store", WORKING)
    for wrong, meant in (("sqllite:///log.db", "sqlite:"), ("Toys:", "toy:"), ("SQLite:log.db", "sqlite:")):
        told = (await refused(wrong)).hint
        assert told is not None
        assert told.startswith(f"did you mean {meant}?")


async def test_an_unknown_store_does_not_show_its_password() -> None:
    error = await refused("postgers://me:hunter2@host/db")
    assert "postgers://me:***@host/db" in error.message
    assert "hunter2" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def open_url(url:", "SyntaxError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ],
)
async def test_a_package_that_does_not_import_is_named(install: Install, source: str, what: str) -> None:
    install("toy-package", "toy_store", source)
    error = await refused("toy:")
    assert "'toy' (toy_store:open_url, of toy-package 1.2) cannot be imported" in error.message
    assert what in error.message
    assert error.hint == "look at what toy-package needs, and install it again"
    named = await refused("toy_store:open_url")
    assert f"toy_store:open_url cannot be imported: {what}" in named.message
    assert named.hint == "try it alone: python -c 'import toy_store'"


async def test_a_package_whose_entry_point_leads_nowhere_is_named(install: Install) -> None:
    install("toy-package", "toy_store", "")
    error = await refused("toy:")
    assert "(toy_store:open_url, of toy-package 1.2) is not there" in error.message


async def test_two_packages_with_one_scheme_are_both_named(install: Install) -> None:
    install("toy-one", "toy_store_one", WORKING)
    install("toy-two", "toy_store_two", WORKING)
    error = await refused("toy:")
    assert "'toy' is offered by several packages" in error.message
    assert "toy-one 1.2 (toy_store_one:open_url)" in error.message
    assert "toy-two 1.2 (toy_store_two:open_url)" in error.message
    await (await open_backend("toy_store_one:open_url")).close()  # its function says which


async def test_one_package_on_two_paths_is_one(install: Install, tmp_path: Path) -> None:
    install("toy-package", "toy_store", WORKING)
    sys.path.append(f"{tmp_path}/toy-package/.")
    try:
        await (await open_backend("toy:")).close()
    finally:
        sys.path.remove(f"{tmp_path}/toy-package/.")


# --- factories that are none ----------------------------------------------------------------------------------------


class Reader:
    """Somebody began a store, and did not derive it from the port."""

    log_id = LogId("a")

    async def head(self) -> Position:
        return Position(0)


class Unfinished(StoreBackend):
    """Derived from the port, whose methods it inherits without a word: they do nothing."""

    def __init__(self) -> None:
        self._log_id = LogId("a")

    @property
    def log_id(self) -> LogId:
        return self._log_id

    async def close(self) -> None: ...


class Boastful(MemoryBackend):
    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.SHARED, Capability.DENSE})


def not_async(url: str) -> StoreBackend:
    return MemoryBackend()


async def takes_nothing() -> StoreBackend:
    return MemoryBackend()


async def takes_two(url: str, limit: int) -> StoreBackend:
    return MemoryBackend()


async def gives_nothing(url: str) -> None: ...


async def gives_a_reader(url: str) -> Reader:
    return Reader()


async def gives_something_unfinished(url: str) -> StoreBackend:
    return Unfinished()  # type: ignore[abstract]  # whoever does not check types learns it here


async def boasts(url: str) -> StoreBackend:
    return Boastful()


constant = 3


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        ("not_async", "is not async"),
        ("takes_nothing", "does not take the URL"),
        ("takes_two", "does not take the URL"),
        ("constant", "is no function"),
        ("no_such_name", "is not there"),
        ("gives_nothing", "gave None, which is no event store"),
        (
            "gives_a_reader",
            "gave a Reader, which is no event store: it has no capabilities, restored, accept_restored, commit, "
            "read_stream, read_all, wait_for_news, close",
        ),
        (
            "gives_something_unfinished",
            "gave a Unfinished, which is no event store: it has no commit, read_stream, read_all, head, wait_for_news",
        ),
        ("boasts", "gave a Boastful, which declares 'shared' and has no leading, lead, hear, heard"),
    ],
)
async def test_a_factory_that_is_none_is_told_what_it_lacks(factory: str, what: str) -> None:
    error = await refused(f"{__name__}:{factory}")
    assert error.message.startswith(f"{__name__}:{factory} ")
    assert what in error.message
    assert error.hint


async def test_a_program_that_hands_over_no_backend_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the program gave a Unfinished, which is no event store"):
        async with Log.open(await gives_something_unfinished("")):
            pass
