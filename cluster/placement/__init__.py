"""Placement: the plan of hosts and their shards, the keeper that carries it out, and Ray, which
runs the hosts.

Nothing here knows a server or the directory that a cluster runs in.
"""
