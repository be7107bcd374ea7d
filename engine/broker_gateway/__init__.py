"""The broker-gateway machine: which orders are out, which go next, which are unresolved.

It knows follower shards only by their events.
"""
