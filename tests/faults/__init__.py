"""Real processes, killed and stopped on purpose. Bounded; everything is ended by its own process id."""
