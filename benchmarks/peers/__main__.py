"""`python -m benchmarks.peers [PEER …]`: install the peers that are not there yet."""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.peers import PEERS
from benchmarks.peers.environments import absence, install


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(peer.name for peer in PEERS)}")
    given = parser.parse_args(arguments)
    unknown = set(given.peers) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"no peer is called {', '.join(sorted(unknown))}")
    failed = 0
    for peer in PEERS:
        if given.peers and peer.name not in given.peers:
            continue
        if absence(peer) is None:
            print(f"{peer.title}: is there", file=sys.stderr)
            continue
        print(f"{peer.title}: installing", file=sys.stderr, flush=True)
        try:
            install(peer)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{peer.title}: could not be installed: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
