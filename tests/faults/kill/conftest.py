"""One cluster for all kill tests: what one of them leaves behind, the next must live with."""

from collections.abc import Iterator

import pytest

from tests.faults.kill.running import RunningCluster, temporary_cluster


@pytest.fixture(scope="package")
def cluster() -> Iterator[RunningCluster]:
    """A cluster started as an operator starts it."""
    with temporary_cluster("lockstep-kill-") as running:
        yield running
