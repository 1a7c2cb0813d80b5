"""What an agent takes beyond what is signed: its own lists of flows, of kinds of code and of modules. Owns their meaning; reads nothing.

A rule is asked with the opened seal, after its signature was verified, and so sees what will run, not what the server says of it.
Agents of other infrastructure add rules of their own over `seal.run_config`: which images, mounts or networks they take.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from playhead.core.events import SealedBy
from playhead.trust.seal import ModuleCode, Seal


class Rule(Protocol):
    def __call__(self, seal: Seal) -> str | None:
        """Why a run of this flow is not taken, for the agent's own log; None: it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Lists of what is taken; an empty one takes everything.

    `flows`: names of flows, with `*` and `?`. `code`: kinds of code. `modules`: names of modules, with `*` and `?`; where there is such
    a list, code of another kind than by module is taken only if `code` names it, as it could hold anything.
    """

    flows: Collection[str] = ()
    code: Collection[SealedBy] = ()
    modules: Collection[str] = ()

    def __call__(self, seal: Seal) -> str | None:
        kind = SealedBy(seal.code.kind)
        if self.flows and not _fits(seal.flow, self.flows):
            return f"its flow {seal.flow} is none of {_listed(self.flows)}"
        if self.code and kind not in self.code:
            return f"its code is sealed by {kind}, and this agent takes {_listed(self.code)}"
        if not self.modules:
            return None
        if isinstance(seal.code, ModuleCode):
            fits = _fits(seal.code.module, self.modules)
            return None if fits else f"its module {seal.code.module} is none of {_listed(self.modules)}"
        return None if kind in self.code else f"its code is sealed by {kind}, and only certain modules are taken"


def _fits(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _listed(entries: Collection[str]) -> str:
    return ", ".join(sorted(entries))
