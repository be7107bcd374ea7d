"""The streams that shards take inputs from, held against the journals (P4). What was acknowledged
there is on disk, so it must have become something; and what a journal has applied came from there.
"""
