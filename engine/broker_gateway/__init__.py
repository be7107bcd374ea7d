"""The broker-gateway machine: which orders are out, which go next, which are unresolved.

Nothing here decides an order or touches a book. It knows follower shards only by their events.
"""
