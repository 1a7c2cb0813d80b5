"""The table of a run's tasks by key: immutable, and it shares what did not change with the table before it. Knows no rule of tasks.

It has three layers, of which the upper ones count: below, what came out of a snapshot, packed; then a dict that nobody changes any
more; and above it a persistent map of what came later. A fold of a whole story is put down as a dict in no time, where a persistent
map of 100,000 tasks takes longer to make than to read them; a batch of a run that is being reported goes into the map and copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from rpds import HashTrieMap

from playhead.core.names import TaskKey

if TYPE_CHECKING:
    from playhead.core.packed import PackedTasks
    from playhead.core.state import TaskState

COPIES_FOR_ONE: Final = 50  # items of a dict are copied in the time in which one is put into a large persistent map


class TaskTable:
    """A table is equal to another that holds the same tasks, however the two came to be."""

    __slots__ = ("_above", "_below", "_packed")
    __hash__ = None  # type: ignore[assignment]  # equal tables may have different layers

    def __init__(self, tasks: dict[TaskKey, TaskState] | None = None, packed: PackedTasks | None = None) -> None:
        """Takes the dict over: nobody may change it any more. It counts where a key is packed, too."""
        self._packed = packed
        self._below: dict[TaskKey, TaskState] = tasks if tasks is not None else {}
        self._above: HashTrieMap[TaskKey, TaskState] = _EMPTY

    def get(self, key: TaskKey) -> TaskState | None:
        task = self._above.get(key) or self._below.get(key)
        return task if task is not None or self._packed is None else self._packed.get(key)

    def those(self, keys: Iterable[TaskKey]) -> Iterator[TaskState]:
        """The tasks of these keys, as many as there are."""
        return (task for key in keys if (task := self.get(key)) is not None)

    def updated(self, changed: dict[TaskKey, TaskState]) -> TaskTable:
        """The table with these tasks in the place of those that they are. Takes the dict over."""
        if not self._below:
            return TaskTable(changed, self._packed)
        if not self._above and len(changed) * COPIES_FOR_ONE >= len(self._below):
            return TaskTable(self._below | changed, self._packed)
        table = TaskTable(self._below, self._packed)
        if len(changed) == 1:
            ((key, task),) = changed.items()
            table._above = self._above.insert(key, task)
        else:
            table._above = self._above.update(changed)
        return table

    def items(self) -> Iterator[tuple[TaskKey, TaskState]]:
        return ((task.key, task) for task in self.values())

    def values(self) -> Iterator[TaskState]:
        above, below, packed = self._above, self._below, self._packed
        if packed is not None:
            yield from packed.those(key for key in packed if key not in below and key not in above)
        if above:
            yield from (task for key, task in below.items() if key not in above)
            yield from above.values()
        else:
            yield from below.values()

    def __contains__(self, key: TaskKey) -> bool:
        return key in self._above or key in self._below or (self._packed is not None and key in self._packed)

    @property
    def held(self) -> int:
        """How many task states it holds, those included that were replaced above: what it weighs, told without a count."""
        return len(self._below) + len(self._above) + (len(self._packed) if self._packed is not None else 0)

    def __bool__(self) -> bool:
        return self.held > 0

    def __eq__(self, other: object) -> bool:
        return dict(self.items()) == dict(other.items()) if isinstance(other, TaskTable) else NotImplemented

    def __repr__(self) -> str:
        return f"TaskTable({dict(self.items())!r})"


_EMPTY: Final[HashTrieMap[TaskKey, TaskState]] = HashTrieMap()
