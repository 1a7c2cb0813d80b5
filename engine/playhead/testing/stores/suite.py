"""The suite that the checks of this package register with. Holds no check itself."""

from __future__ import annotations

from typing import Final

from playhead.testing.checks import Suite
from playhead.testing.stores.place import Place

STORE_CHECKS: Final[Suite[Place]] = Suite("event store")
