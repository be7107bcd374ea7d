"""A cluster whose broker is `examples/json_broker.py`: orders leave in JSON, and executions come
back in JSON.

    fill --> creator shard --> follower shards --> gateway --JSON--> json_broker.py (ledger on disk)
      `-- clock starts          positions <---------- executions (JSON, JetStream) <--'

    python -m tests.cluster.running.json_cluster --accounts 20000 --fills 5

prints how many orders per second were accepted and executed, from the first fill's publish to the
last execution, and audits.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from cluster.audit import AuditReport, audit_data
from cluster.config.roles import OPERATOR, broker_role
from cluster.history.store import opened_store
from cluster.history.whole import Journals, read_journals
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams
from tests.cluster.running.asking import connected, until
from tests.faults.kill.running import ROOT, RunningCluster, temporary_cluster

BROKER = "acme"
CREATOR = "nancy"
CONFIG = ROOT / "examples" / "json_broker.toml"
BULK_COMMANDS = 500
END_S_MAX = 10.0
EXECUTED_S_MAX = 300.0
POLL_S = 0.5


class JsonProgram:
    """The example's process at one cluster."""

    def __init__(self, data: Path, ledger: Path) -> None:
        self._data = data
        self._ledger = ledger
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with the login of its role."""
        command = [sys.executable, str(ROOT / "examples" / "json_broker.py"), "--name", BROKER]
        command += ["--credentials", str(self._data / "credentials.json")]
        with self._ledger.with_suffix(".log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--ledger", str(self._ledger)], stdout=output, stderr=output
            )

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(END_S_MAX)

    def executions(self) -> list[dict[str, Any]]:
        """Read the executions that JetStream has acknowledged, none before there is a ledger."""
        with contextlib.closing(sqlite3.connect(self._ledger)) as ledger:
            try:
                found = ledger.execute("select body from executions where is_confirmed = 1")
                return [json.loads(body) for (body,) in found]
            except sqlite3.OperationalError:
                return []

    async def wait_executed(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many executions are acknowledged, within a bound."""
        give_up_s = time.monotonic() + EXECUTED_S_MAX
        while len(found := self.executions()) < count:
            if time.monotonic() > give_up_s:
                raise AssertionError(f"expected {count} executions, found {len(found)}")
            await asyncio.sleep(POLL_S)
        return found


class JsonMarket:
    """One creator at the broker, and an operator."""

    def __init__(self, data: Path, operator: NatsConnection, broker: NatsConnection) -> None:
        self._data = data
        self._operator = operator
        self._streams = NatsStreams(broker)

    async def open(self, accounts: int) -> None:
        """Open the creator with 100,000, and accounts that follow with 10,000 each."""
        creator = {"type": "open_creator", "cash": "100000", "broker": BROKER, "command_id": "c"}
        await until(
            lambda: self._request(f"commands.creator.{CREATOR}", creator),
            lambda answer: answer["ok"],
        )
        commands = [command for number in range(accounts) for command in _joining(number)]
        for first in range(0, len(commands), BULK_COMMANDS):
            part = commands[first : first + BULK_COMMANDS]
            await until(
                partial(self._request, "commands.bulk", part),
                lambda answers: all(answer["ok"] for answer in answers),
            )

    async def _request(self, subject: str, body: Any) -> Any:
        data = msgspec.json.encode(body)
        answer = await self._operator.request(subject, data, deadline_s=20.0)
        return msgspec.json.decode(answer.data)

    async def buy(self, fill: int) -> None:
        """Let the creator buy 10 at 50."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"symbol": "JPM", "side": "buy", "last_qty": "10", "last_px": "50"}
        body |= {"exec_id": f"e-{fill}", "transact_time": now}
        subject = f"fills.{BROKER}.{CREATOR}"
        await self._streams.publish(
            subject, msgspec.json.encode(body), message_id=f"{subject}-{fill}"
        )

    async def audited(self, orders: int) -> AuditReport:
        """Wait until so many orders are decided and executed. Returns: the audit."""

        async def audit() -> AuditReport:
            return await audit_data(self._data)

        report: AuditReport = await until(
            audit, lambda report: report["P8"].counts.get("applied") == orders
        )
        return report


def _joining(number: int) -> Iterator[dict[str, str]]:
    account = f"a-{number}"
    yield {
        "type": "open_account",
        "command_id": f"o-{number}",
        "account_id": account,
        "broker": BROKER,
    }
    yield {
        "type": "follow",
        "command_id": f"f-{number}",
        "account_id": account,
        "creator_id": CREATOR,
        "cash": "10000",
    }


@contextlib.contextmanager
def json_cluster() -> Iterator[tuple[RunningCluster, JsonProgram]]:
    """A cluster and its broker's program, both in a temporary directory."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="json-broker-"))
        cluster = stack.enter_context(temporary_cluster("json-", CONFIG))
        program = JsonProgram(cluster.data, Path(folder) / "acme.sqlite")
        stack.callback(program.kill)
        program.start()
        yield cluster, program


@contextlib.asynccontextmanager
async def json_market(cluster: RunningCluster) -> AsyncIterator[JsonMarket]:
    """The creator's and the operator's connections to a cluster."""
    operator = await connected(cluster.data, OPERATOR)
    broker = await connected(cluster.data, broker_role(BROKER))
    try:
        yield JsonMarket(cluster.data, operator, broker)
    finally:
        await operator.close()
        await broker.close()


async def journals(data: Path) -> Journals:
    """Read all journals of a cluster."""
    async with opened_store(data) as store:
        return await read_journals(store)


async def _measure(
    cluster: RunningCluster, program: JsonProgram, accounts: int, fills: int
) -> None:
    async with json_market(cluster) as market:
        await market.open(accounts)
        began_s = time.time()
        for fill in range(fills):
            await market.buy(fill)
        executions = await program.wait_executed(accounts * fills)
        last = max(executions, key=lambda each: each["transact_time"])
        seconds = datetime.fromisoformat(last["transact_time"]).timestamp() - began_s
        report = await market.audited(accounts * fills)
    print("\n".join(report.lines()))
    orders = len(executions)
    print(f"{orders} orders in {seconds:.2f} s: {orders / seconds:,.0f} orders/s")
    if not report.passed:
        raise SystemExit(1)


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description="Orders per second to a broker that takes JSON.")
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--fills", type=int, default=5)
    given = parser.parse_args()
    with json_cluster() as (cluster, program):
        asyncio.run(_measure(cluster, program, given.accounts, given.fills))


if __name__ == "__main__":
    main()
