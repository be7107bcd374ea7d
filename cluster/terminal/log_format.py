"""The format in which a command logs on stderr."""

from enum import StrEnum


class LogFormat(StrEnum):
    """The form of a command's log on stderr."""

    TEXT = "text"
    """Lines for people."""
    JSON = "json"
    """One JSON object per line, for programs."""
