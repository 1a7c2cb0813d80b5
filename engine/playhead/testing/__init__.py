"""Public helpers for testing: conformance suites for the ports, and what a program's own tests need.

Importing this package is cheap and imports none of its modules: each is imported by name, and none needs pytest but
`plugin`.
"""
