"""The Dask executor: calls on a Dask cluster. `opening` is its entry point; this package imports nothing, as workers load it too."""
