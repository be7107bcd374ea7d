"""The format in which a command logs on stderr."""

from enum import StrEnum


class LogFormat(StrEnum):
    """How a command logs on stderr."""

    TEXT = "text"
    """Lines for people."""
    JSON = "json"
    """One JSON object per line, for programs."""
