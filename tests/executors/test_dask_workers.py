"""Workers that do not fit, or that come to grief, are named: another version, no Playhead, a missing module, too little memory; and TLS."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trustme

from playhead.errors import InfrastructureLost, UnloadableOutcome, UsageError
from playhead.executors import DaskExecutor, DaskSecurity
from playhead.testing.sample_calls import itself
from tests.executors.clusters import dask_cluster, warmed

pytestmark = pytest.mark.real
warm = pytest.fixture(scope="module", autouse=True)(warmed)

OTHER_VERSION = """
import importlib.metadata as metadata
known = metadata.version
metadata.version = lambda name: "0.0.9" if name == "playhead" else known(name)
"""

NO_PLAYHEAD = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "playhead_adapters":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@contextmanager
def spoiled(folder: Path, code: str, **given: Any) -> Generator[str]:
    """A cluster each of whose processes runs this before all else."""
    (folder / "sitecustomize.py").write_text(code)
    with dask_cluster(folder, env={"PYTHONPATH": str(folder)}, n_workers=1, **given) as address:
        yield address


async def test_a_worker_with_another_playhead_is_named(tmp_path: Path) -> None:
    with (
        spoiled(tmp_path, OTHER_VERSION) as address,
        pytest.raises(UsageError, match=r"the Dask worker tcp://\S+ has playhead 0\.0\.9 and not \S+") as caught,
    ):
        async with DaskExecutor(address=address).open():
            pass
    assert caught.value.hint is not None


async def test_a_worker_without_playhead_is_named(tmp_path: Path) -> None:
    with (
        spoiled(tmp_path, NO_PLAYHEAD) as address,
        pytest.raises(UsageError, match=r"the Dask worker tcp://\S+ has no Playhead .*playhead_adapters"),
    ):
        async with DaskExecutor(address=address).open():
            pass


async def test_a_worker_with_another_playhead_that_comes_later_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker is there to be asked when the executor opens; the one that comes for the call fits as little."""
    (tmp_path / "sitecustomize.py").write_text(OTHER_VERSION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of processes that are started from now on
    spec = DaskExecutor(
        cluster_class="distributed:LocalCluster",
        cluster_kwargs={"n_workers": 0, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"},
        adapt_kwargs={"minimum": 0, "maximum": 1},
    )
    async with spec.open() as executor:
        with pytest.raises(UsageError, match=r"has playhead 0\.0\.9 and not"):
            await executor.submit(itself, 1)


async def test_a_module_that_a_worker_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "only_at_the_runner.py").write_text("def found(n):\n    return n\n")
    with dask_cluster(tmp_path, n_workers=1) as address:
        monkeypatch.setattr(sys, "path", [str(modules), *sys.path])
        found = import_module("only_at_the_runner").found
        try:
            async with DaskExecutor(address=address).open() as executor:
                with pytest.raises(UnloadableOutcome, match="No module named 'only_at_the_runner'"):
                    await executor.submit(found, 1)
        finally:
            del sys.modules["only_at_the_runner"]


def too_much(n: int) -> bytes:
    return b"x" * n


async def test_a_worker_that_takes_too_much_memory_is_named_with_its_limit() -> None:
    spec = DaskExecutor(workers=1, cluster_kwargs={"memory_limit": "500MB"})
    async with spec.open() as executor:
        with pytest.raises(InfrastructureLost, match=r"took nearly all of its memory limit of 0\.5 GB") as caught:
            await executor.submit(too_much, 700_000_000)
    assert caught.value.memory_limit == 500_000_000


# --- TLS -------------------------------------------------------------------------------------------------------------


class Certificates:
    """An authority, and the certificate of all that it trusts."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        authority = trustme.CA()
        self.ca = str(folder / "authority.pem")
        self.certificate = str(folder / "certificate.pem")
        authority.cert_pem.write_to_path(self.ca)
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(self.certificate)

    @property
    def cluster(self) -> dict[str, str]:
        """For the Security of a whole cluster."""
        parts = {
            f"tls_{role}_{part}": self.certificate
            for role in ("client", "scheduler", "worker")
            for part in ("cert", "key")
        }
        return {"tls_ca_file": self.ca, **parts}

    @property
    def security(self) -> DaskSecurity:
        return DaskSecurity(ca_file=self.ca, client_cert=self.certificate)


async def test_a_cluster_with_tls_takes_calls_of_who_has_its_authority_s_certificate_only(tmp_path: Path) -> None:
    ours, others = Certificates(tmp_path / "ours"), Certificates(tmp_path / "others")
    with dask_cluster(tmp_path, n_workers=1, protocol="tls", tls=ours.cluster) as address:
        assert address.startswith("tls://")
        async with DaskExecutor(address=address, security=ours.security).open() as executor:
            assert await executor.submit(itself, 1) == 1
        with pytest.raises(InfrastructureLost, match=r"did not reach a scheduler at tls://") as caught:
            async with DaskExecutor(address=address, security=others.security, connect_seconds=1).open():
                pass
        assert any(isinstance(cause, ssl.SSLError | OSError) for cause in _causes(caught.value))


async def test_a_temporary_cluster_speaks_tls_too(tmp_path: Path) -> None:
    ours = Certificates(tmp_path / "ours")
    spec = DaskExecutor(workers=1, security=ours.security, cluster_kwargs={"protocol": "tls"})
    async with spec.open() as executor:
        assert await executor.submit(scheduler_address) == "tls"


def scheduler_address() -> str:
    worker: Any = import_module("distributed").get_worker()
    return str(worker.scheduler.address).partition(":")[0]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
