"""The audit of a working cluster: live states are compared, and orders under way are no fault."""

from pathlib import Path

import msgspec

from actors.errors import OutcomeUnknownError
from actors.ports import Broker
from actors.settings import OrderIds
from cluster.audit import AuditReport, audit
from engine.messages.blocks import OrdersSubmitted, decode_block
from engine.values.order_ids import parse_order_id
from engine.values.units import format_time
from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import SETTINGS, memory_cluster, memory_store, story
from tests.audit.planting import Recording


async def test_a_running_cluster_passes_and_its_live_states_are_the_replayed_ones(
    tmp_path: Path,
) -> None:
    async with memory_cluster(FillSettings(fee_rate_micros=777)) as cluster:
        await story(cluster)
        ledger = bytes(cluster.broker.ledger.data)
        report = await audit(
            memory_store(cluster.server, ledger, tmp_path, is_running=True), is_drained=True
        )
    assert report.passed, "\n".join(report.lines())
    assert report["P6"].counts["live_states"] == 3
    assert report.notes == ()


async def audited(settings: FillSettings, directory: Path) -> AuditReport:
    """Tell the story to a broker with given settings, let time pass until nothing is left to do,
    and audit.
    """
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


class LosingTheFirstOrders:
    """The way to a broker on which the first block of orders is lost."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._is_lost = False

    async def submit(self, block: bytes) -> bytes:
        if not self._is_lost and any(
            isinstance(each, OrdersSubmitted) for each in decode_block(block)
        ):
            self._is_lost = True
            raise OutcomeUnknownError("the block is lost")
        return await self._broker.submit(block)


async def test_p9_an_operators_report_on_unresolved_orders_is_no_fault(tmp_path: Path) -> None:
    """The operator has asked the broker and reports as `gateways/protocol` says."""
    settings = msgspec.structs.replace(SETTINGS, order_ids={"paper": OrderIds.UNCHECKED})
    fills = FillSettings(order_ids="unchecked")
    async with memory_cluster(fills, settings=settings, way=LosingTheFirstOrders) as cluster:
        await cluster.command("commands.creator.anna", "open_creator", cash="100000")
        for account in ("account-0", "account-1"):
            await cluster.command(f"commands.account.{account}", "open_account")
            await cluster.follow(account, "anna", "900")
        await cluster.fill("anna", "AAA", "buy", "200", "101.25")
        letters = [
            msgspec.json.decode(message.data)
            for message in cluster.server.stream("DEADLETTER").messages
        ]
        quarantined = [order_id for letter in letters for order_id in letter["order_ids"]]
        time = format_time(cluster.clock.time_ns)
        for order_id in quarantined:
            canceled = {
                "exec_id": f"desk-{order_id}",
                "order_id": order_id,
                "exec_type": "canceled",
                "transact_time": time,
            }
            await cluster.report(f"executions.paper.{parse_order_id(order_id)[0] >> 50}", canceled)
        await cluster.fill("anna", "AAA", "buy", "100", "101")
    report = await Recording(cluster.server, bytes(cluster.broker.ledger.data)).audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P8"].counts["of_unresolved"] == len(quarantined) > 0
