"""Hello: one flow, one task.

playhead run docs/examples/hello.py:hello -p name=you
"""

from playhead import flow, task


@task
def greet(name: str) -> str:
    return f"Hello, {name}!"


@flow
def hello(name: str = "world") -> str:
    return greet(name)


if __name__ == "__main__":
    print(hello())
