"""Errors of a replay that has begun. Wrong input is `cluster.replay.csv_table.InputError`."""

from cluster.errors import ClusterError


class ReplayError(ClusterError):
    """The replay cannot go on. The message says what was expected, what was found and where to
    look.
    """
