"""Real processes: engines, agents, runners and programs, over loopback, in homes of their own."""
