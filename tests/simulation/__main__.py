"""`python -m tests.simulation SEED…`: live through these seeds again, and show the last of what happened in each. `--weather` is what a
violation was printed with, where the weather was not the seed's own."""

from __future__ import annotations

import argparse

from tests.simulation.weather import Weather
from tests.simulation.world import simulate

parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
parser.add_argument("seeds", type=int, nargs="+")
parser.add_argument("--weather", type=Weather.parse)
given = parser.parse_args()
for seed in given.seeds:
    print(simulate(seed, given.weather))
