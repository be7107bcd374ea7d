"""A whole cluster with a broker that takes JSON, killed and started again on the way (P1, P7, P8,
P9).
"""

import asyncio
from fractions import Fraction

import pytest

from tests.cluster.running.json_cluster import JsonProgram, journals, json_cluster, json_market
from tests.faults.kill.running import RunningCluster

pytestmark = pytest.mark.real

ACCOUNTS = 250
FILLS = 3
LOT = 100
"""The smallest step of a quantity, 1e-8."""


async def story(cluster: RunningCluster, program: JsonProgram) -> None:
    """Let the creator buy three times. The program dies after the first, and comes back."""
    async with json_market(cluster) as market:
        await market.open(ACCOUNTS)
        await market.buy(0)
        await program.wait_executed(ACCOUNTS)
        program.kill()
        await market.buy(1)
        await market.buy(2)
        program.start()
        executions = await program.wait_executed(ACCOUNTS * FILLS)
        report = await market.audited(ACCOUNTS * FILLS)
    assert report.passed, "\n".join(report.lines())
    assert {each["exec_type"] for each in executions} == {"trade"}
    assert len({each["order_id"] for each in executions}) == ACCOUNTS * FILLS
    assert len({each["exec_id"] for each in executions}) == ACCOUNTS * FILLS
    found = await journals(cluster.data)
    books = [book for tables in found.followers.values() for book in tables.state.books]
    positions = [
        int(position) for book in books for slot in book.slots for position in slot.position
    ]
    assert len(positions) == ACCOUNTS
    # Each buys a tenth of the creator's 10, three times: its cash is a tenth of the creator's.
    assert set(positions) == {int(Fraction(10 * FILLS, 10) * 10**8) // LOT * LOT}


def test_fills_become_orders_and_executions_in_json_and_positions_are_right() -> None:
    with json_cluster() as (cluster, program):
        asyncio.run(story(cluster, program))
        audited = cluster.command("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr
