"""What people write: flows, tasks, futures, schedules and run configs. Knows neither server nor storage nor runner."""
