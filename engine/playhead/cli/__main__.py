"""`python -m playhead.cli` is `playhead`."""

from playhead.cli import main

main()
