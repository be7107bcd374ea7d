"""Deciding: reads the state and yields events.

Nothing here changes the state.
"""
