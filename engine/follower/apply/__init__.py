"""Applying: events change the state, live and on replay alike (P6). Nothing here decides."""
