"""One cluster for all kill tests: what one of them leaves behind, the next must live with."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kill.running import RunningCluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[RunningCluster]:
    """A cluster started as an operator starts it."""
    with tempfile.TemporaryDirectory(prefix="lockstep-kill-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        running = RunningCluster(root / "data")
        try:
            running.up()
            yield running
        finally:
            running.down()
