"""The command line: one module per command.

No benchmark is imported here: `plugins` finds `bench` by its entry point.
"""
