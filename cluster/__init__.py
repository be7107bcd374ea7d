"""Wiring: configuration, embedded servers, placement and the command line.

Only this package itself, the benchmarks and the tests import it.
"""
