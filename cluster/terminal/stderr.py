"""Standard error that may lose its reader: a closed pipe or file, a terminal that is gone, a full
disk.

A command must not end because nobody reads what it says. Its log file has everything.
"""

import os
import sys
from contextlib import suppress
from typing import TextIO, cast


class _Stderr:
    """The process's standard error, whose failures are passed over."""

    def __init__(self) -> None:
        # While a bar is shown, `sys.stderr` is the bar's own proxy, which writes here.
        self._stream = sys.stderr

    @property
    def encoding(self) -> str:
        """The encoding of what is written."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write a text, if it can be written."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._pass_over(error)
            return len(text)

    def flush(self) -> None:
        """Send what is written, if it can be sent."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._pass_over(error)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return its number."""
        return self._stream.fileno()

    def _pass_over(self, error: Exception) -> None:
        if isinstance(error, BrokenPipeError):
            # Python writes what is left once more at its end, and would end with status 120.
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)


def lasting_stderr() -> TextIO:
    """Return the process's standard error as a stream that never fails."""
    return cast(TextIO, _Stderr())
