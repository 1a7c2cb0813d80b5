"""Whether an object has the shape of a backend: what each must have, and what goes with the capabilities that it declares.

Looks at names only. What stands behind them is tried by the conformance suite.
"""

from __future__ import annotations

import inspect
from typing import Final, cast

from playhead.errors import UsageError
from playhead.ports.store import Capability, ForgettingBackend, RestoringBackend, SharedBackend, StoreBackend

_WITH_DEFAULT: Final = frozenset(
    {"capabilities", "restored", "accept_restored"}
)  # whoever derives from the port has them

_COMES_WITH: Final[dict[Capability, type]] = {
    Capability.SHARED: SharedBackend,
    Capability.FORGETS: ForgettingBackend,
    Capability.RESTORES: RestoringBackend,
}


def checked(found: object, source: str) -> StoreBackend:
    """The object, as the backend that it is. UsageError: it lacks something. `source`: who made it, for that error."""
    if lacks := _lacking(found, StoreBackend):
        raise UsageError(
            f"{source} gave {_kind(found)}, which is no event store: it has no {', '.join(lacks)}",
            hint="derive its class from playhead.ports.store.StoreBackend, which says what each of them must do",
        )
    backend = cast(StoreBackend, found)
    for capability in sorted(backend.capabilities & _COMES_WITH.keys()):
        port = _COMES_WITH[capability]
        if lacks := _lacking(found, port):
            raise UsageError(
                f"{source} gave {_kind(found)}, which declares {capability.value!r} and has no {', '.join(lacks)}",
                hint=f"write what playhead.ports.store.{port.__name__} asks for, or do not declare the capability",
            )
    return backend


def _lacking(found: object, port: type) -> list[str]:
    return [name for name, stub in vars(port).items() if not name.startswith("_") and not _has(found, name, stub)]


def _has(found: object, name: str, stub: object) -> bool:
    """Whether it has this of its own. Who derives from a port inherits the port's, which does nothing: that counts as none."""
    own = inspect.getattr_static(found, name, None)
    if own is None:
        return hasattr(found, name)
    return own is not stub or name in _WITH_DEFAULT


def _kind(found: object) -> str:
    """What it is, in a word: its value may be long, or a secret."""
    return "None" if found is None else f"a {type(found).__qualname__}"
