"""The audit of a cluster that works: live states are compared, orders under way are no fault."""

from pathlib import Path

from cluster.audit import audit
from gateways.paper_broker.settings import FillSettings
from tests.audit.memory_cluster import memory_cluster, memory_store, story


async def test_a_running_cluster_passes_and_its_live_states_are_the_replayed_ones(tmp_path: Path) -> None:
    async with memory_cluster(FillSettings(fee_rate_micros=777)) as cluster:
        await story(cluster)
        ledger = bytes(cluster.broker.ledger.data)
        report = await audit(memory_store(cluster.server, ledger, tmp_path, is_running=True), is_drained=True)
    assert report.passed, "\n".join(report.lines())
    assert report["P6"].counts["live_states"] == 3
    assert report.notes == ()


async def test_rejected_and_delayed_orders_are_audited_too(tmp_path: Path) -> None:
    settings = FillSettings(
        reject_every_n=3, partial_fill_slices=3, fill_delay_ms=1, duplicate_executions=True
    )
    async with memory_cluster(settings) as cluster:
        await story(cluster)
        for _ in range(12):
            cluster.clock.time_ns += 61 * 10**9
            cluster.broker.advance()
            await cluster.drained()
        ledger = bytes(cluster.broker.ledger.data)
        report = await audit(memory_store(cluster.server, ledger, tmp_path, is_running=True), is_drained=True)
    assert report.passed, "\n".join(report.lines())
    assert report["P1"].counts["further_attempts"] > 0
    assert report["P2"].counts["netted"] > 0
