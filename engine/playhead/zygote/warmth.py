"""What a runner imports and builds before its flow, done once in the zygote. Owns the list; opens, connects and starts nothing."""

from __future__ import annotations

import importlib
from typing import Final

from playhead.executors.specs import LocalExecutor, ThreadExecutor

# What a runner imports only when it comes to it. What is the user's, and what could start threads (numpy's BLAS), is not here.
MODULES: Final = (
    "playhead.runner.__main__",
    "playhead.client.http",
    "playhead.storage.folder",
    "encodings.ascii",  # of the first URL that is taken apart
    "encodings.idna",  # of the first host that is looked up
)


def warm() -> None:
    for module in MODULES:
        importlib.import_module(module)
    for spec in (LocalExecutor(), ThreadExecutor()):
        spec.open()  # finds and imports what runs them; nothing is open before it is entered
