"""The conformance kit of event stores: what `StoreBackend` promises, as checks with names. Needs no pytest.

    results = await check_store("mystore:///var/lib/my.log")
    failed = [result for result in results if not result.passed]

A store is given by its URL, or by a factory whose every call opens the same log:

    def place() -> AbstractAsyncContextManager[StoreBackend]: ...

The checks run one after another, on a log that may hold other events: each uses streams of its own, under `default/check/`. What
a store offers beyond the base contract it declares by `Capability`, and is held to. docs/reference/store-contract.md lists them all.
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Final

from playhead.testing.checks import CheckResult, Watcher
from playhead.testing.stores.place import PATIENCE_SECONDS, SEED, Place, StoreFactory
from playhead.testing.stores.suite import STORE_CHECKS

# The checks run in the order in which these files register them.
# isort: off
from playhead.testing.stores import versions
from playhead.testing.stores import batches
from playhead.testing.stores import idempotency
from playhead.testing.stores import reading
from playhead.testing.stores import contents
from playhead.testing.stores import following
from playhead.testing.stores import lasting
from playhead.testing.stores import faults
from playhead.testing.stores import declared
from playhead.testing.stores import numbering
from playhead.testing.stores import sharing
from playhead.testing.stores import forgetting
from playhead.testing.stores import restoring
from playhead.testing.stores import volume  # last, since what is copied before is the whole log
# isort: on

SUBJECTS: Final[tuple[ModuleType, ...]] = (
    versions,
    batches,
    idempotency,
    reading,
    contents,
    following,
    lasting,
    faults,
    declared,
    numbering,
    sharing,
    forgetting,
    restoring,
    volume,
)  # the files of checks

__all__ = ["STORE_CHECKS", "SUBJECTS", "CheckResult", "Place", "StoreFactory", "Watcher", "check_store"]


async def check_store(
    where: StoreFactory | str,
    *,
    only: Collection[str] | None = None,
    second: StoreFactory | str | None = None,
    quick: bool = False,
    seed: int = SEED,
    patience_seconds: float = PATIENCE_SECONDS,
    watcher: Watcher | None = None,
) -> list[CheckResult]:
    """Try every check, or those named by `only`, on the store; a check that does not apply to it has no result.

    `quick` writes less in the checks that write much. `seed` is of those that draw; their findings name it. The watcher hears each check
    begin and end, and which were omitted, and why.

    UsageError: `only` names a check that does not exist (`STORE_CHECKS.names` has them all), or there is no such store. Whatever
    the store itself does is a finding.
    """
    with Place(
        where, second=second, quick=quick, seed=seed, patience_seconds=patience_seconds, watcher=watcher
    ) as place:
        return await STORE_CHECKS.run(place, only=only, watcher=watcher)
