"""`python -m playhead.runner --order-fd N`, or `--order-file PATH`: the process that an agent starts for one flow run.

Exit codes are named in `core.kinds.RunnerExit`. The agent reports them; a run's state comes from the log alone.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Final, NoReturn, cast

from playhead.core import events as ev
from playhead.core.decide import KEY_SCHEME
from playhead.core.kinds import RunnerExit
from playhead.core.names import Epoch, RunId
from playhead.core.tokens import Token
from playhead.errors import (
    EpochOver,
    FlowLoadError,
    PlayheadError,
    RunnerEnded,
    ServerUnreachable,
    StorageError,
    StorageLost,
    StorageUnavailable,
    TrustError,
    UsageError,
)
from playhead.failpoints import reach
from playhead.flows.flow import Flow
from playhead.flows.run_config import LocalRun, RunConfig, parse_run_config
from playhead.journal.shelf import journals_in
from playhead.ports.server import ServerApi, StartRequest
from playhead.ports.storage import Storage
from playhead.runner.bootstrap import RunnerOrder
from playhead.runner.boottime import boot_time
from playhead.runner.execution import Execution, Grant
from playhead.runner.loopthread import LoopThread, collected
from playhead.runner.recall import Predecessor, predecessors
from playhead.storage import open_storage
from playhead.trust.code import load_code
from playhead.trust.keys import DerivedKey
from playhead.trust.payload import load
from playhead.trust.seal import read_seal
from playhead.trust.ticket import read_ticket

HARD_END_SECONDS: Final = 5.0  # what a flow that does not look up gets to end, once this runner's time is over


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m playhead.runner", description="Run one flow run; started by an agent."
    )
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--order-fd", type=int, help="descriptor of the pipe that holds the order")
    ways.add_argument("--order-file", help="the file that holds the order; it is removed once it was read")
    given = parser.parse_args()
    return serve(given.order_fd if given.order_fd is not None else given.order_file)


def serve(order_from: int | str) -> int:
    """Run what is ordered through this pipe, or in this file, in this process. Gives the exit code; nothing is raised for the world's
    faults."""
    try:
        order = RunnerOrder.from_file(order_from) if isinstance(order_from, str) else RunnerOrder.from_pipe(order_from)
    except UsageError as error:
        print(f"playhead.runner: {error}", file=sys.stderr)  # noqa: T201
        return RunnerExit.BAD_ORDER
    reach("runner.ordered")
    os.environ.update(order.env)
    logging.basicConfig(level=order.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return _run(order)
    except PlayheadError as error:
        print(f"playhead.runner: run {order.run}, epoch {order.epoch}: {error}", file=sys.stderr)  # noqa: T201
        return _exit_code(error)


def _run(order: RunnerOrder) -> int:
    from playhead.client.http import HttpServer

    storage = open_storage(order.storage_url)
    if storage.id != order.storage_id:
        raise StorageUnavailable(
            f"storage {order.storage_id} is not reachable from here: {order.storage_url} is {storage.id}",
            hint="start the agent with the storage that the flow was registered with",
        )
    key = DerivedKey.parse(order.run_key)
    token = Token.parse(order.token) if order.token is not None else None
    with LoopThread("playhead-link") as link, link.entered(HttpServer(order.server, token=token)) as api:
        earlier = _earlier(order, api, link, storage)
        reach("start.asking")
        sent_at = boot_time()
        started = link.call(api.start(order.run, _start_request(order)))
        reach("start.answered")
        grant = Grant(
            run=RunId(order.run), flow=order.flow, epoch=Epoch(order.epoch), grant=order.grant,
            scheduled_for=order.scheduled_for, key=key, storage=storage, encrypt=order.encrypt,
        )  # fmt: skip
        execution = Execution(grant, api, link, started, sent_at, on_broken=_end_soon)
        execution.execute(lambda: _load(order, storage, key), earlier)
    return RunnerExit.OK


def _earlier(order: RunnerOrder, api: ServerApi, link: LoopThread, storage: Storage) -> list[Predecessor]:
    """The epochs before this one. A journal that the log knows and this storage lacks, or the other way round: nothing is started.

    Storage is looked at before the log, which has each grant before its runner writes: so a journal of a later epoch is known, too.
    """
    there = journals_in(storage, order.run)
    earlier: list[Predecessor] = []
    if order.epoch > 1 or there:
        history = link.call(collected(api.history(order.run)))
        newest = max((recorded.data["epoch"] for recorded in history if recorded.type == ev.RunClaimed.TYPE), default=0)
        if newest > order.epoch:
            raise EpochOver(f"epoch {order.epoch} of run {order.run} is over: the run is at epoch {newest}")
        earlier = predecessors(RunId(order.run), history, Epoch(order.epoch))
    for predecessor in earlier:
        if predecessor.reported and predecessor.place not in there:
            raise StorageUnavailable(
                f"the journal {predecessor.place.folder} is not in storage {storage.id} as it is reachable from here",
                hint="start the agent where the storage of the run's earlier epochs can be read",
            )
    known = {predecessor.place for predecessor in earlier}
    for place in there:
        if place not in known:
            raise StorageLost(
                f"storage {storage.id} holds the journal {place.folder}, of which the log of run {order.run} does not know",
                hint=f"was the log put back from an older copy? `playhead reconcile {order.run}` tells it what it has forgotten",
            )
    return [predecessor for predecessor in earlier if predecessor.started or predecessor.place in there]


def _start_request(order: RunnerOrder) -> StartRequest:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return StartRequest(
        epoch=order.epoch, grant=order.grant, storage=order.storage_id, python=python, key_scheme=KEY_SCHEME
    )


def _load(order: RunnerOrder, storage: Storage, run_key: DerivedKey) -> tuple[Flow[..., Any], dict[str, Any]]:
    """The flow and its parameters, each verified before anything of it is loaded."""
    flow_key = DerivedKey.parse(order.flow_key)
    seal = read_seal(storage, order.flow, order.seal, flow_key)
    ticket = read_ticket(
        storage,
        run=order.run,
        flow=order.flow,
        seal=order.seal,
        labels=None,  # the agent, to which the server names them, has compared them
        origin=order.origin,
        schedule=order.schedule_id,
        due_micros=order.scheduled_for,
        preset=order.preset_id,
        nonce=order.nonce,
        run_key=run_key,
        flow_key=flow_key,
    )
    _apply(parse_run_config(dict(seal.run_config)))
    subject: Any = load_code(seal, is_flow=lambda found: isinstance(found, Flow))
    if not isinstance(subject, Flow):
        raise FlowLoadError(f"what was sealed as flow {order.flow} is a {type(subject).__name__}, not a flow")
    return cast("Flow[..., Any]", subject), load(ticket.parameters)


def _apply(config: RunConfig) -> None:
    """What the sealed run config wants of this process: the flow's own settings come before its code."""
    os.environ.update(config.env)
    if isinstance(config, LocalRun) and config.working_dir is not None:
        try:
            os.chdir(config.working_dir)
        except OSError as error:
            raise FlowLoadError(
                f"the working folder {config.working_dir} of the run config cannot be entered: {error.strerror}",
                hint="make it on the agent's machine, or register the flow with another",
            ) from error


def _end_soon(error: PlayheadError) -> None:
    """Another runner may be at work: end, even if the flow's own thread does not look up."""

    def end() -> None:
        time.sleep(HARD_END_SECONDS)
        sys.stderr.write(f"playhead.runner: {error}\n")
        sys.stderr.flush()
        os._exit(_exit_code(error))

    threading.Thread(target=end, name="playhead-end", daemon=True).start()


def _exit_code(error: PlayheadError) -> int:
    match error:
        case RunnerEnded():
            return RunnerExit.OVER
        case ServerUnreachable():
            return RunnerExit.NO_SERVER
        case StorageError() | TrustError():
            return RunnerExit.NO_STORAGE
        case _:
            return RunnerExit.BROKEN


def end(code: int) -> NoReturn:
    """End the process. Threads whose call cannot be stopped, and a user's own, do not hold it."""
    with suppress(OSError, ValueError):  # a full disk, or a flow that closed them
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main())
