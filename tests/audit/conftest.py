"""One cluster's recording for all audit tests: it runs once, every planted fault is in a copy."""

import asyncio

import pytest

from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import memory_cluster, story
from tests.audit.planting import Recording

SETTINGS = FillSettings(fee_rate_micros=500, partial_fill_slices=2, slippage_micros=100)


async def _recorded() -> Recording:
    async with memory_cluster(SETTINGS) as cluster:
        await story(cluster)
    return Recording(cluster.server, bytes(cluster.broker.ledger.data))


@pytest.fixture(scope="session")
def recorded() -> Recording:
    """The journals, ledger and snapshots of a cluster of two creators and twelve accounts."""
    return asyncio.run(_recorded())


@pytest.fixture
def recording(recorded: Recording) -> Recording:
    """A copy to plant a fault in."""
    return recorded.copy()
