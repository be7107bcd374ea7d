"""NATS: connection, protocol, JetStream streams, journal, feeds, bus. Nothing else knows
nats-py.
"""
