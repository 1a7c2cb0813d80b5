"""The ports: what the engine asks of a store, of storage, of an executor and of a server. Contracts, no code."""
