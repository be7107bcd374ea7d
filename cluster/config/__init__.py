"""Configuration: options, the file that they are read from, how it is printed, credentials.

Nothing here starts anything.
"""
