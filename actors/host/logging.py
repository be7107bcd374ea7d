"""Log lines of a host: one JSON object each, on stderr. The process that starts the host sends them
to a file.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog
from structlog.typing import Processor

from actors.host.alarms import process_alarms


def set_up_logging(
    process: str,
    *,
    render: Processor | None = None,
    logger_factory: Callable[..., Any] | None = None,
) -> None:
    """Write this process's log as JSON lines that carry its name. `render` and `logger_factory`
    send it elsewhere.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            process_alarms.count,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render or structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=logger_factory or structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
