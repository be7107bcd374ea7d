"""The journal's format: frames, cursors, chains, quarantine, and the events that frames carry.

It says how decisions are written down. It does not decide and applies nothing but what every shard
shares.
"""
