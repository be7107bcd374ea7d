"""NATS: connection, protocol, JetStream streams, journal, feeds, bus, and the listener to a
cluster.

No other room knows nats-py.
"""
