"""Executors: each speaks to one service that computes, and registers under the entry points `playhead.executors`."""
