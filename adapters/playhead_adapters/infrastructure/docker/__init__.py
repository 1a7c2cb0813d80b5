"""Runners as containers of a Docker engine."""
