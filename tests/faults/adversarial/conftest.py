"""Logs of these tests are short."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _short_logs() -> Iterator[None]:
    """Log in short lines: drawing the traceback of each crash takes seconds."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()
