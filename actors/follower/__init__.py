"""The follower shard's actor: signals, executions and commands in; orders and answers out.

Nothing here sends to a broker, and nothing knows the actors of creators and broker gateways.
"""
