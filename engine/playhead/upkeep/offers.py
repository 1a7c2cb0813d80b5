"""What a backend offers beyond the base contract, as the protocol that goes with it. Owns that step from a word to methods."""

from __future__ import annotations

from typing import cast

from playhead.ports.store import Capability, ForgettingBackend, RestoringBackend, StoreBackend


def restoring(backend: StoreBackend) -> RestoringBackend | None:
    """The backend, if it can be copied whole."""
    return cast("RestoringBackend", backend) if Capability.RESTORES in backend.capabilities else None


def forgetting(backend: StoreBackend) -> ForgettingBackend | None:
    """The backend, if streams can be removed from it."""
    return cast("ForgettingBackend", backend) if Capability.FORGETS in backend.capabilities else None
