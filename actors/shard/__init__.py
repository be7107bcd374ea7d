"""The parts that every shard actor is made of: recovery, turns, commits, snapshots, progress,
careful mode.

They know no kind of shard.
"""
