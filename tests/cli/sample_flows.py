"""Flows that the tests of the command line run."""

from __future__ import annotations

from playhead import flow, get_logger, task

_tries: list[int] = []


@task
def square(number: int) -> int:
    get_logger().info("squaring %d", number)
    return number * number


@task(retries=1)
def second_time() -> int:
    _tries.append(1)
    if len(_tries) % 2:
        raise ValueError("not the first time")
    return 1


@task
def bad(depth: int) -> None:
    raise KeyError(f"[red]bad[/red] at {depth}")


@flow
def squares(n: int = 3) -> list[dict[str, int]]:
    """Some squares, as a table."""
    second_time()
    return [{"number": number, "square": value} for number, value in enumerate(square.map(range(n)).result())]


@flow
def breaks() -> None:
    """Fails in a task."""
    bad(7)
