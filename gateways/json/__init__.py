"""JSON messages as the protocol pages document them, to and from the engine's values.

Nothing here knows NATS, or decides.
"""
