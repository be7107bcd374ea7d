"""Junk of one broker on a real cluster ends no host, and moves nothing of the other broker."""

import asyncio

import pytest

from tests.faults.fuzz.real_cluster import CONFIG, fuzzed
from tests.faults.kill.running import temporary_cluster

pytestmark = pytest.mark.real

MESSAGES = 600
SECONDS_MAX = 60.0


def test_junk_ends_no_host_and_the_other_broker_goes_on() -> None:
    with temporary_cluster("lockstep-fuzz-", CONFIG) as cluster:
        found = asyncio.run(fuzzed(cluster, 7, MESSAGES, SECONDS_MAX))
    assert found.messages == MESSAGES
    assert found.counts["executions_refused"] > 0
    assert found.counts["inputs_refused"] > 0
