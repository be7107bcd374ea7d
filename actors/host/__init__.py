"""Hosts: processes that run shard actors, as Ray actors in production. Ray is known here alone."""
