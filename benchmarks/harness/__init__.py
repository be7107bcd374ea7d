"""The harness: a cluster under measurement, the load, the figures and their report.

Nothing here knows a single benchmark or baseline.
"""
