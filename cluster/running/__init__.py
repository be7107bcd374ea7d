"""A running cluster on one machine: its data directory, the wiring of its parts, the supervisor
that starts, keeps and stops them.
"""
