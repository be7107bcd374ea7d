"""Servers that the cluster brings along. Each runs from the binary in its package, on loopback,
with a data directory and credentials of its own.

Nothing here knows a shard or a host.
"""
