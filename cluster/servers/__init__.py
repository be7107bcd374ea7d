"""Servers the cluster brings along: each runs from its package's binary on loopback, with a data
directory and credentials of its own.
"""
