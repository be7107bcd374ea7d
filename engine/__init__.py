"""The rules of copying: pure, synchronous, deterministic.

Nothing in this package awaits, reads a clock, draws a random number, looks at the environment or
knows Ray, NATS or SQL. State changes only by applying events; deciders read state and return events
(ARCHITECTURE.md, "the life of a fill").
"""
