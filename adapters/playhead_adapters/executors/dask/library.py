"""The names of Dask, distributed and cloudpickle that are used here, untyped: what they declare is not enough to check by."""

from __future__ import annotations

from importlib import import_module
from typing import Any

dask: Any = import_module("dask")
dask_config: Any = import_module("dask.config")
task_spec: Any = import_module("dask._task_spec")
distributed: Any = import_module("distributed")
distributed_client: Any = import_module("distributed.client")
distributed_scheduler: Any = import_module("distributed.scheduler")
distributed_threads: Any = import_module("distributed.threadpoolexecutor")
cloudpickle: Any = import_module("cloudpickle")

CancelledByDask: type[BaseException] = distributed_client.CancelledError
KilledWorker: type[Any] = distributed_scheduler.KilledWorker
