"""What a supervisor logs, as its operator reads it on a terminal; into a file or a pipe it goes as
JSON lines.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from actors.host.logging import set_up_logging

LEFT_OUT = ("event", "level", "timestamp", "process", "alarm")


def set_up_supervisor_logging() -> None:
    """Log on stderr, for people where it is a terminal."""
    set_up_logging("supervisor")
    if sys.stderr.isatty():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                line_of,
            ]
        )


def line_of(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """Write one log entry as a line: what happened, then what to know of it."""
    known = ", ".join(f"{name} {value}" for name, value in event.items() if name not in LEFT_OUT)
    level = "" if event["level"] == "info" else f"{event['level']}: "
    return f"lockstep: {level}{str(event['event']).replace('_', ' ')}" + (
        f": {known}" if known else ""
    )
