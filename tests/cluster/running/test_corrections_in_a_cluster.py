"""A whole cluster over NATS: the broker takes back a trade and a creator's fill, and the audit
finds everything in order (P6, P7, P8).
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cluster.audit import AuditReport, audit_data
from cluster.config.roles import OPERATOR, broker_role
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams
from tests.cluster.running.asking import connected, until
from tests.faults.kill.running import RunningCluster

pytestmark = pytest.mark.real


class Session:
    """An operator and a broker at one cluster."""

    def __init__(self, data: Path, operator: NatsConnection, broker: NatsConnection) -> None:
        self.data = data
        self._operator = operator
        self._streams = NatsStreams(broker)

    async def request(self, subject: str, **body: Any) -> dict[str, Any]:
        """Send a request. Returns: the answer."""
        answer = await self._operator.request(subject, msgspec.json.encode(body), deadline_s=10.0)
        decoded: dict[str, Any] = msgspec.json.decode(answer.data)
        return decoded

    async def fill(self, exec_id: str, **fields: str) -> None:
        """Publish a creator's fill."""
        body = {"exec_id": exec_id, "symbol": "JPM", "side": "buy", **fields}
        await self._streams.publish(
            "fills.paper.nancy", msgspec.json.encode(body), message_id=f"paper/nancy/{exec_id}"
        )

    async def audited(self) -> AuditReport:
        """Audit the running cluster."""
        return await audit_data(self.data)


def counts(report: AuditReport) -> dict[str, int]:
    return {name: value for check in report.checks for name, value in check.counts.items()}


async def corrected(session: Session, now: str) -> None:
    """Let an account buy with its creator, the broker take the trade back, and then the creator's
    fill too.
    """
    await session.request(
        "commands.creator.nancy", type="open_creator", command_id="c-1", cash="1000000"
    )
    opened = await session.request("commands.account.alice", type="open_account", command_id="c-2")
    follow = {"type": "follow", "command_id": "c-3", "creator_id": "nancy", "cash": "10000"}
    await until(
        lambda: session.request("commands.account.alice", **follow), lambda answer: answer["ok"]
    )
    await session.fill("e-1", last_qty="100", last_px="57.26", transact_time=now)
    _, ledger_id = LedgerReader(session.data / "broker" / "paper").broker()
    trade = f"paper-{ledger_id}-{opened['shard']}-1"
    asked = {
        "exec_type": "trade_correct",
        "exec_ref_id": trade,
        "last_qty": "0.25",
        "last_px": "57.25",
    }
    first = await until(
        lambda: session.request("broker.paper.corrections", **asked), lambda answer: answer["ok"]
    )
    again = await session.request("broker.paper.corrections", **asked)
    assert again["reason"] == "already_corrected"
    busted = {"exec_type": "trade_cancel", "exec_ref_id": first["exec_id"]}
    assert (await session.request("broker.paper.corrections", **busted))["ok"]
    report = await until(session.audited, lambda report: counts(report).get("corrected") == 2)
    assert report.passed, report
    await session.fill("e-2", exec_type="trade_cancel", exec_ref_id="e-1", transact_time=now)
    report = await until(session.audited, lambda report: counts(report).get("fills_corrected") == 1)
    assert report.passed, report
    assert counts(report)["pending"] == 0


def test_a_trade_and_a_fill_are_taken_back_through_a_running_cluster(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    cluster = RunningCluster(tmp_path / "data")
    try:
        cluster.up()

        async def run() -> None:
            operator = await connected(cluster.data, OPERATOR)
            broker = await connected(cluster.data, broker_role("paper"))
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            try:
                await corrected(Session(cluster.data, operator, broker), now)
            finally:
                await operator.close()
                await broker.close()

        asyncio.run(run())
    finally:
        cluster.down()
    audited = cluster.command("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
