"""Values that everything shares: units, ids, order ids, statuses, dispositions, policies.

Nothing here knows a codec, a journal or a shard.
"""
