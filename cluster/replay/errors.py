"""What can go wrong with a replay once it has begun; wrong input is
`cluster.replay.csv_table.InputError`.
"""

from cluster.errors import ClusterError


class ReplayError(ClusterError):
    """The replay cannot go on: says what was waited for, what was found, and where to look."""
