"""`lockstep audit`: one line per promise, or JSON; exit code 1 when a promise does not hold."""

import logging
import sys
from pathlib import Path
from typing import NoReturn

import structlog

from cluster.audit.auditing import audit_data
from cluster.errors import ClusterError
from cluster.running.stopping import run_until_stopped


def run(data: Path, *, as_json: bool) -> int:
    """Audit a data directory, its cluster running or stopped. Returns: the exit code. Raises:
    UsageError, ClusterError, OperatingError.
    """
    # Only the result is printed: servers that are started and stopped for reading are no news.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    report = run_until_stopped(audit_data(data), stopped=_stopped)
    if as_json:
        sys.stdout.write(report.json().decode() + "\n")
    else:
        for line in report.lines():
            print(line)
    return 0 if report.passed else 1


def _stopped() -> NoReturn:
    raise ClusterError("the audit was stopped before it was done; what it started is down")
