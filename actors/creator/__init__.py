"""The creator shard's actor: fills, marks and creator commands in, signals out.

Nothing here sizes an order, and nothing knows the actors of followers and broker gateways.
"""
