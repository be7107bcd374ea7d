"""The journal protocol as its readers and its owner speak it: fence and append, read in order or
backwards, step over what is no frame.

Nothing here knows a shard. What a frame looks like is in `engine.journal`.
"""
