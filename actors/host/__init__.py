"""Hosts: processes that run shard actors of every kind, as Ray actors in production.

Nothing here decides. `ray_actors` is the one module that knows Ray.
"""
