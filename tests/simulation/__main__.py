"""`python -m tests.simulation SEED…`: live through these seeds again, and show the last of what happened in each."""

from __future__ import annotations

import sys

from tests.simulation.world import simulate

for seed in sys.argv[1:]:
    print(simulate(int(seed)))
