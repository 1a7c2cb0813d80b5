"""What things cost, counted: requests, reads, commits, hops. Never timed."""
