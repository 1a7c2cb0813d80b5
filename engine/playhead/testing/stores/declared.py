"""What a store declares beyond the base contract: its capabilities, and the methods that go with each. Checks only."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from playhead.errors import UsageError
from playhead.log.shape import checked
from playhead.ports.store import Capability, ForgettingBackend, RestoringBackend, SharedBackend, StoreBackend
from playhead.testing.checks import CheckFailed, DoesNotApply, expect
from playhead.testing.stores.place import Place
from playhead.testing.stores.suite import STORE_CHECKS


@STORE_CHECKS.check
async def what_is_declared_has_its_methods(place: Place) -> None:
    """Of its own: those that are inherited from the port do nothing."""
    async with place() as store:
        unknown = set(store.capabilities) - set(Capability)
        expect(not unknown, f"it declares {unknown}, which playhead.ports.store.Capability does not know")
        try:
            checked(store, "the place")
        except UsageError as error:
            raise CheckFailed(error.message) from error


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
