"""Errors of the outside, in three kinds. Gateways map every library error to one of them.

OperatingError
+-- TransientError        not done; trying again with a deadline is safe
|   +-- StreamFullError   the stream refuses more until an operator makes room
+-- PermanentError        will not succeed by trying again: report it
|   +-- DiskFullError     the disk has no room until an operator makes some
+-- OutcomeUnknownError   may or may not be done: never repeat blindly, look it up
"""


class OperatingError(Exception):
    """An operation outside the process failed. The message says what was expected, what was
    found and what to do.
    """


class TransientError(OperatingError):
    """Not done; safe to try again."""


class StreamFullError(TransientError):
    """The stream is at its size limit and takes nothing; its shards pause with an alarm."""


class PermanentError(OperatingError):
    """Not done, and trying again will not help."""


class DiskFullError(PermanentError):
    """The disk has no room for a file that is needed; an operator can make some."""


class OutcomeUnknownError(OperatingError):
    """It may have been done: look it up before doing anything else."""


class BadInputError(ValueError):
    """A message is not what it must be. `reason` is a code for programs; the text says what was
    expected and found.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ShardLostError(Exception):
    """Another owner has taken the shard over: this one must stop, and nothing it decides counts any
    more.
    """
