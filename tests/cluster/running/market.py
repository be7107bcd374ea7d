"""A small market at a running cluster: an operator who sends commands, and brokers who publish."""

import time
from pathlib import Path
from typing import Any

import msgspec

from cluster.audit import AuditReport, audit_data
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams
from tests.cluster.running.asking import until

CREATORS = {"nancy": "paper", "zoe": "other"}
"""The broker of each creator."""


class Market:
    """An operator and two brokers at one cluster."""

    def __init__(self, data: Path, operator: NatsConnection, **brokers: NatsConnection) -> None:
        self._data = data
        self._operator = operator
        self._streams = {name: NatsStreams(each) for name, each in brokers.items()}
        self._messages = 0

    async def command(self, subject: str, **body: str) -> None:
        """Send a command until it is done."""
        self._messages += 1
        data = msgspec.json.encode({"command_id": f"c-{self._messages}", **body})

        async def ask() -> Any:
            answer = await self._operator.request(subject, data, deadline_s=10.0)
            return msgspec.json.decode(answer.data)

        await until(ask, lambda answer: answer["ok"])

    async def fill(self, creator: str, symbol: str, quantity: str, price: str) -> None:
        """Publish a creator's fill."""
        broker = CREATORS[creator]
        body = {"symbol": symbol, "side": "buy", "last_qty": quantity, "last_px": price}
        await self._publish(broker, f"fills.{broker}.{creator}", body, "transact_time", "exec_id")

    async def mark(self, broker: str, symbol: str, price: str) -> None:
        """Publish a mark as a broker."""
        await self._publish(broker, f"marks.{broker}", {"symbol": symbol, "px": price}, "time")

    async def _publish(
        self, broker: str, subject: str, body: dict[str, str], time_field: str, id_field: str = ""
    ) -> None:
        name = f"{subject}-{time.time_ns()}"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {**body, time_field: now} | ({id_field: name.split("-")[1]} if id_field else {})
        await self._streams[broker].publish(subject, msgspec.json.encode([body]), message_id=name)

    async def settled(self, decided: int) -> None:
        """Wait until so many signals are decided and executed, and audit the running cluster."""

        async def audited() -> AuditReport:
            return await audit_data(self._data)

        report = await until(
            audited,
            lambda report: (
                report["P2"].counts.get("dispositions") == decided
                and report["P8"].counts.get("applied") == decided
            ),
        )
        assert report.passed, "\n".join(report.lines())
