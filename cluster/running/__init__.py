"""A running cluster on one machine: its data directory, the wiring of its parts, and the
supervisor that starts, keeps and stops them.

Nothing here knows the command line, or reads a journal.
"""
