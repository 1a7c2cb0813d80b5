"""Agents: custodians of flow runs, one for each kind of infrastructure.

An agent follows the server's event stream, claims the runs that it can serve, launches a runner for each, watches it and reports
its end. It verifies a run's ticket before the launch and reads nothing else of the flow; it never computes a task. What differs
between processes, containers and jobs is behind `playhead.agent.infrastructure`.
"""
