"""The table of a run's tasks by key: immutable, and it shares what did not change with the table before it. Knows no rule of tasks.

It has two layers: a dict that nobody changes any more, and above it a persistent map of what came later. A fold of a whole story, or a
snapshot, is put down as a dict in no time, where a persistent map of 100,000 tasks takes longer to make than to read them; a batch of a
run that is being reported goes into the map and copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from rpds import HashTrieMap

from playhead.core.names import TaskKey

if TYPE_CHECKING:
    from playhead.core.state import TaskState

COPIES_FOR_ONE: Final = 50  # items of a dict are copied in the time in which one is put into a large persistent map


class TaskTable:
    """A table is equal to another that holds the same tasks, however the two came to be."""

    __slots__ = ("_above", "_below")
    __hash__ = None  # type: ignore[assignment]  # equal tables may have different layers

    def __init__(self, tasks: dict[TaskKey, TaskState] | None = None) -> None:
        """Takes the dict over: nobody may change it any more."""
        self._below: dict[TaskKey, TaskState] = tasks if tasks is not None else {}
        self._above: HashTrieMap[TaskKey, TaskState] = _EMPTY

    def get(self, key: TaskKey) -> TaskState | None:
        return self._above.get(key) or self._below.get(key)

    def those(self, keys: Iterable[TaskKey]) -> Iterator[TaskState]:
        """The tasks of these keys, as many as there are."""
        above, below = self._above.get, self._below.get
        return (task for key in keys if (task := above(key) or below(key)) is not None)

    def updated(self, changed: dict[TaskKey, TaskState]) -> TaskTable:
        """The table with these tasks in the place of those that they are. Takes the dict over."""
        if not self._below:
            return TaskTable(changed)
        if not self._above and len(changed) * COPIES_FOR_ONE >= len(self._below):
            return TaskTable(self._below | changed)
        table = TaskTable(self._below)
        if len(changed) == 1:
            ((key, task),) = changed.items()
            table._above = self._above.insert(key, task)
        else:
            table._above = self._above.update(changed)
        return table

    def items(self) -> Iterator[tuple[TaskKey, TaskState]]:
        above = self._above
        if not above:
            yield from self._below.items()
            return
        for item in self._below.items():
            if item[0] not in above:
                yield item
        yield from above.items()

    def values(self) -> Iterator[TaskState]:
        return (task for _, task in self.items())

    def __contains__(self, key: TaskKey) -> bool:
        return key in self._above or key in self._below

    @property
    def held(self) -> int:
        """How many task states it holds, those included that were replaced above: what it weighs, told without a count."""
        return len(self._below) + len(self._above)

    def __bool__(self) -> bool:
        return bool(self._below)

    def __eq__(self, other: object) -> bool:
        return dict(self.items()) == dict(other.items()) if isinstance(other, TaskTable) else NotImplemented

    def __repr__(self) -> str:
        return f"TaskTable({dict(self.items())!r})"


_EMPTY: Final[HashTrieMap[TaskKey, TaskState]] = HashTrieMap()
