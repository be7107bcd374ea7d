"""Columns: exact arithmetic, codecs, tables, states and their copies.

Nothing here knows what a column means: no trade, no subscription, no shard.
"""
