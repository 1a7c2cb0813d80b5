"""Event stores: each file speaks to one kind of store and is a `StoreBackend`."""
