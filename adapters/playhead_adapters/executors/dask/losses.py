"""What is said of calls that Dask could not compute, and who is to blame for a worker's death. Decides nothing else."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from playhead.errors import InfrastructureLost, PlayheadError, UsageError
from playhead_adapters.executors.dask.cluster import Death
from playhead_adapters.executors.dask.parcels import DaskCall, Parcel
from playhead_adapters.executors.dask.versions import SAME_VERSIONS, OtherVersions


def charged(parcels: Sequence[Parcel], threads: int) -> list[DaskCall]:
    """The calls that were running on a worker that died with these parcels: the first, one for each of its threads.

    Those behind them had not begun. Of a parcel of several calls nobody knows which ran: none is charged, and each is tried alone.
    """
    in_order = sorted(parcels, key=lambda parcel: parcel.calls[0].number)
    return [parcel.calls[0] for parcel in in_order[:threads] if len(parcel.calls) == 1]


def worker_lost(call: DaskCall, address: str, death: Death | None) -> InfrastructureLost:
    """What to say of a call whose worker died."""
    if death is None:
        return InfrastructureLost(f"the Dask worker {address} was lost under {call.name}, and nobody saw how")
    if death.memory_limit is not None:
        return InfrastructureLost(
            f"the Dask worker {address} was ended under {call.name}: it took nearly all of its memory limit of "
            f"{death.memory_limit / 1e9:.3g} GB",
            memory_limit=death.memory_limit,
            signal=-death.exit_code if death.exit_code < 0 else None,
            exit_code=death.exit_code if death.exit_code >= 0 else None,
        )
    if death.exit_code < 0:
        number = -death.exit_code
        return InfrastructureLost(
            f"the Dask worker {address} was killed by {_signal_name(number)} under {call.name}", signal=number
        )
    return InfrastructureLost(
        f"the Dask worker {address} ended with exit code {death.exit_code} under {call.name}", exit_code=death.exit_code
    )


def broken(call: DaskCall, error: BaseException) -> PlayheadError:
    """What to say of a call that Dask itself failed. A call's own failure is an answer, and never comes here."""
    if isinstance(error, OtherVersions):
        return UsageError(error.args[0], hint=SAME_VERSIONS)
    if isinstance(error, ImportError) or ModuleNotFoundError.__name__ in str(error):  # Dask tells of some by their text
        return UsageError(
            f"a Dask worker cannot load what computes {call.name}: {error}",
            hint="install playhead[dask], in the runner's version, where the workers run",
        )
    return InfrastructureLost(f"the Dask cluster could not compute {call.name}: {type(error).__name__}: {error}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
