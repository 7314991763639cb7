"""Embedded real servers and a live workload, in a process of their own."""

RATE = 1200
"""Commands a second of the live load, unless told otherwise."""
SEED = 20
"""Where the demo's data and its load come from."""
