"""The audit of a cluster that works: live states are compared, orders under way are no fault."""

from pathlib import Path

from cluster.audit import AuditReport, audit
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


async def audited(settings: FillSettings, directory: Path) -> AuditReport:
    """Tell the story to a broker with habits, let time pass until nothing is left to do, and audit."""
    async with memory_cluster(settings) as cluster:
        await story(cluster)
        await cluster.pass_time(minutes=8)
        ledger = bytes(cluster.broker.ledger.data)
        report = await audit(
            memory_store(cluster.server, ledger, directory, is_running=True), is_drained=True
        )
    assert report.passed, "\n".join(report.lines())
    return report


async def test_rejected_exits_are_tried_again_and_audited(tmp_path: Path) -> None:
    report = await audited(FillSettings(reject_every_n=3, partial_fill_slices=3), tmp_path)
    assert report["P1"].counts["further_attempts"] > 0


async def test_orders_that_stay_open_are_netted_and_audited(tmp_path: Path) -> None:
    report = await audited(FillSettings(fill_delay_ms=1, duplicate_executions=True), tmp_path)
    assert report["P2"].counts["netted"] > 0
