"""The README's program, as it stands there, and the types in it. Read by `make types`; a test compares it with the README."""

import typing
from datetime import timedelta

from playhead import flow, get_logger, task


@task(retries=2, retry_delay=timedelta(seconds=1))
def fetch(name: str) -> str:
    get_logger().info("fetching %s", name)
    return f"the text of {name}"


@task
def count(text: str) -> int:
    return len(text.split())


@flow
def words(names: list[str]) -> int:
    texts = fetch.map(names)  # a call for each, side by side; nothing waits here
    counts = count.map(texts)  # futures go in as arguments: dependencies
    return sum(counts.result())


if __name__ == "__main__":
    print(words(["one", "two", "three"]))


# --- what the checkers must find -----------------------------------------------------------------------------------------


def types() -> None:
    from playhead import TaskFutures

    typing.assert_type(fetch("one"), str)
    typing.assert_type(fetch.map(["one"]), TaskFutures[str])
    typing.assert_type(count.map(fetch.map(["one"])).result(), list[int])
    typing.assert_type(words(["one"]), int)
    typing.assert_type(words.run(names=["one"]), int)
