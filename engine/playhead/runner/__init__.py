"""The runner: one for each flow run, in the process or container that its agent launched.

It opens the seal, runs the flow's function, submits the calls to the executor, makes every outcome durable in its own journal in
the user's storage, and reports to the server. It ends when its run's outcome is acknowledged, or when it is fenced. It never
launches another runner, and knows no agent.
"""
