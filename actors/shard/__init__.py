"""The parts that every shard actor is made of: recovery, turns, commits, snapshots, progress,
careful mode.

Nothing here knows a kind of shard.
"""
