"""Logs of these tests are short."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def _short_logs() -> None:
    """Log in short lines: drawing the traceback of each crash takes seconds."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
