"""Infrastructures: where runners live, beside the processes that the engine itself knows."""
