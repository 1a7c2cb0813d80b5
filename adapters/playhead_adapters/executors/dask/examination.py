"""A Dask cluster, looked at for the doctor: whether its scheduler answers, and whether its workers have what flows need. Computes no task.

Workers are asked by functions of this module: one that has no Playhead is known by that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from playhead.ports.examination import ANSWER_SECONDS, Finding, Health, Subject
from playhead_adapters.executors.dask import versions
from playhead_adapters.executors.dask.library import distributed

MAX_NAMED: Final = 3  # workers in a line

Answers = Mapping[str, Any]  # by the worker's address


async def examine(subject: Subject) -> Sequence[Finding]:
    """The entry point `dask` of `playhead.examinations`. For TLS, Dask's own configuration says which certificates."""
    client: Any = distributed.Client(
        subject.where, asynchronous=True, timeout=ANSWER_SECONDS, set_as_default=False, direct_to_workers=False
    )
    try:
        await client
        return await _looked_at(client, subject)
    except (OSError, ValueError, RuntimeError) as error:  # Dask's: nobody there, no address, no certificate
        text = f"no scheduler answers at {subject.where}: {error}"
        todo = "is it running, and is it reached from here? `dask scheduler` prints its address"
        return [Finding("dask", Health.FAIL, text, todo, unreachable=True)]
    finally:
        with contextlib.suppress(Exception):  # it may never have come to life
            await client.close(timeout=1)


async def _looked_at(client: Any, subject: Subject) -> list[Finding]:
    known: dict[str, Any] = await client.scheduler.identity(n_workers=0)
    threads, workers = known["total_threads"], known["n_workers"]
    text = f"{subject.where}, {workers} workers with {threads} threads"
    if not workers:
        todo = f"start some: dask worker {subject.where}"
        return [Finding("dask", Health.WARN, f"{text}: tasks would wait", todo)]
    there: Answers = await client.run(versions.of_this_process, on_error="return")
    differing = _differing(there)
    if differing is not None:
        return [differing]
    findings = [Finding("dask", Health.OK, f"{text}, versions as here")]
    lacking: Answers = await client.run(lacks, tuple(subject.modules), on_error="return")
    findings += _modules(subject.modules, lacking)
    folder = _folder(subject.storage_url)
    if folder is not None:
        seen: Answers = await client.run(sees, folder, on_error="return")
        findings.append(_storage(folder, seen))
    return findings


# --- asked in a worker ------------------------------------------------------------------------------------------------------


def lacks(modules: Sequence[str]) -> list[str]:
    """Those of the modules that a worker would not find; none of them is imported, but for the packages that they are in."""

    def is_there(module: str) -> bool:
        with contextlib.suppress(ImportError, ValueError):
            return find_spec(module) is not None
        return False

    return [module for module in modules if not is_there(module)]


def sees(folder: str) -> bool:
    return Path(folder).is_dir()


# --- what the answers say ---------------------------------------------------------------------------------------------------


def _differing(answers: Answers) -> Finding | None:
    here = versions.of_this_process()
    wrong: list[str] = []
    for address, there in answers.items():
        if isinstance(there, OSError):
            continue  # it went while it was asked
        if isinstance(there, Exception):
            wrong.append(f"the worker {address} has no Playhead that it can load: {there}")
        elif said := versions.differing(there, here):
            wrong.append(f"the worker {address} has {said}")
    if not wrong:
        return None
    todo = f"{versions.SAME_VERSIONS}; install 'playhead[dask]=={here['playhead']}' where the workers run"
    return Finding("dask", Health.FAIL, _listed(wrong), todo)


def _modules(modules: Sequence[str], answers: Answers) -> list[Finding]:
    wrong = [f"the worker {address} lacks {', '.join(lacking)}" for address, lacking in _given(answers) if lacking]
    if wrong:
        todo = "install them where the workers run, or put them on their PYTHONPATH"
        return [Finding("modules", Health.FAIL, _listed(wrong), todo)]
    return [Finding("modules", Health.OK, f"every worker has {', '.join(modules)}")] if modules else []


def _storage(folder: str, answers: Answers) -> Finding:
    blind = [address for address, seen in _given(answers) if not seen]
    if blind:
        todo = (
            "results go through the runner then; mount the storage there under the same path, and large ones need not"
        )
        return Finding("shared", Health.WARN, f"{folder} is not seen by {_listed(blind)}", todo)
    return Finding("shared", Health.OK, f"every worker sees {folder}")


def _given(answers: Answers) -> list[tuple[str, Any]]:
    return [(address, answer) for address, answer in answers.items() if not isinstance(answer, Exception)]


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_NAMED
    return "; ".join(texts[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _folder(storage_url: str | None) -> str | None:
    parts = urlsplit(storage_url or "")
    return unquote(parts.path) if parts.scheme == "file" else None
