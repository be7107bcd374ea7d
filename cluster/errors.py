"""Errors between the operator and the cluster, as one small tree.

    ClusterError           the operation failed: exit code 1
      ServerError         an embedded server did not start, or keeps dying
    UsageError             the operator asked for something that cannot be: exit code 2
      ConfigError          the configuration is refused, with every wrong field listed
      InUseError           the data directory is held by another command

Each message says what was expected, what was found and what to do. The command line prints it
unchanged.
"""


class ClusterError(Exception):
    """An operation on the cluster failed; the message is for the operator."""


class ServerError(ClusterError):
    """An embedded server did not become ready, or died more often than it may."""


class UsageError(Exception):
    """The operator's request is wrong; nothing was started."""


class ConfigError(UsageError):
    """The configuration is refused as a whole; one line for each wrong field."""


class InUseError(UsageError):
    """The data directory is held by a live command."""
