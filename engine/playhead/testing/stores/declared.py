"""What a store declares beyond the base contract: its capabilities, and the methods that go with each. Checks only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

from playhead.ports.store import Capability, ForgettingBackend, RestoringBackend, SharedBackend, StoreBackend
from playhead.testing.checks import DoesNotApply, expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.suite import STORE_CHECKS

METHODS: Final[Mapping[Capability, tuple[str, ...]]] = {
    Capability.SHARED: ("leading", "lead", "hear", "heard"),
    Capability.FORGETS: ("forget", "is_forgotten"),
    Capability.RESTORES: ("read_kept", "forgotten", "restore"),
}


@STORE_CHECKS.check
async def what_is_declared_has_its_methods(place: Place) -> None:
    async with place() as store:
        unknown = set(store.capabilities) - set(Capability)
        expect(not unknown, f"it declares {unknown}, which playhead.ports.store.Capability does not know")
        for capability, methods in METHODS.items():
            if capability in store.capabilities:
                missing = [name for name in methods if not callable(getattr(store, name, None))]
                expect(not missing, f"it declares {capability.value!r}, and has no method {', '.join(missing)}")


async def require(place: Place, *capabilities: Capability) -> None:
    """DoesNotApply: the store does not declare all of these."""
    async with place() as store:
        missing = [each.value for each in capabilities if each not in store.capabilities]
    if missing:
        raise DoesNotApply(f"not offered: {', '.join(missing)}")


@asynccontextmanager
async def shared(place: Place) -> AsyncGenerator[SharedBackend]:
    async with _offering(place, Capability.SHARED) as store:
        yield cast(SharedBackend, store)


@asynccontextmanager
async def forgetting(place: Place) -> AsyncGenerator[ForgettingBackend]:
    async with _offering(place, Capability.FORGETS) as store:
        yield cast(ForgettingBackend, store)


@asynccontextmanager
async def restoring(place: Place) -> AsyncGenerator[RestoringBackend]:
    async with _offering(place, Capability.RESTORES) as store:
        yield cast(RestoringBackend, store)


@asynccontextmanager
async def chained(place: Place) -> AsyncGenerator[RestoringBackend]:
    """DoesNotApply also where nobody can see a link: `read_kept` belongs to RESTORES."""
    await require(place, Capability.CHAINED)
    async with _offering(place, Capability.RESTORES) as store:
        yield cast(RestoringBackend, store)


@asynccontextmanager
async def _offering(place: Place, capability: Capability) -> AsyncGenerator[StoreBackend]:
    async with place() as store:
        if capability not in store.capabilities:
            raise DoesNotApply(f"not offered: {capability.value}")
        yield store
