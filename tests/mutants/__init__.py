"""Planted bugs: small patches against the product, each of which must turn a named test red. `make mutants` tries them all."""
