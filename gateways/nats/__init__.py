"""NATS: connection, protocol, JetStream streams, journal, feeds, bus, the listener to a cluster. No
other room knows nats-py.
"""
