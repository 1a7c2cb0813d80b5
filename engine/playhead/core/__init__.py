"""The pure core: names, events, lifecycle, decisions, replay. No I/O, no clock, no randomness."""
