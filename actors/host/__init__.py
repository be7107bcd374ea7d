"""Hosts: processes that run shard actors, as Ray actors in production. Only this folder knows
Ray.
"""
