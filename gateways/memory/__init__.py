"""In-memory adapters of the ports, with faults on demand. They pass the same contract tests as the
real adapters.

Nothing here opens a connection or reads a clock.
"""
