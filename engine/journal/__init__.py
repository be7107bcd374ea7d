"""The journal's format: frames, cursors, chains, quarantine, and the events that frames carry.

Nothing here decides, and only what every shard shares is applied here.
"""
