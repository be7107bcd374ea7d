"""The journals of a data directory: where they are, on running servers or stopped ones, and all of
them read at once.

The tables that frames are folded into are `engine.history`.
"""
