"""What a person types: names, options and help of the commands. Imports Typer only; the work is in `playhead.cli.actions`."""
