"""The shard core: one mailbox, one state, one journal subject; recovery, snapshots, progress,
quarantine.

It knows no kind of shard.
"""
