"""Applying: events change the state, in the same way live and on replay (P6).

Nothing here decides.
"""
