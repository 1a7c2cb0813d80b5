"""What a step, a fan-out and a start cost here: measured beside the physical limits of the same machine in the same run."""
