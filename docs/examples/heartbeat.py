"""A flow on a schedule: every ten seconds, once it is registered with a server that has an agent.

playhead up &
playhead register docs/examples/heartbeat.py:heartbeat
playhead runs --flow heartbeat
"""

from datetime import timedelta

from playhead import Every, current_run, flow, get_logger, task


@task
def beat(due: str) -> str:
    get_logger().info("the run that was due at %s", due)
    return due


@flow(schedule=Every(timedelta(seconds=10)))
def heartbeat() -> str:
    return beat(current_run().scheduled_for.isoformat())


if __name__ == "__main__":
    print(heartbeat())
