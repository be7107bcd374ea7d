"""Baseline (b): a copy service as it is usually built.

    fill --JetStream--> worker: for account in accounts: size
        |-- orders, one row each --> Postgres (ON CONFLICT DO NOTHING, 500 at a time)
        |-- positions -------------> Valkey (pipeline)
        +-- one message per order -> JetStream, acknowledged

It runs asyncio on uvloop. Postgres is the cluster's (fsync on). NATS is a server of its own, with
default sync or with a sync per message. The time runs from the first fill taken to the last order
acknowledged by NATS: before any broker, execution or recovery.
"""

import asyncio
import tempfile
from pathlib import Path

import asyncpg
import msgspec

from benchmarks.baselines.servers import (
    ScratchNats,
    make_stream,
    run_json,
    scratch_nats,
    scratch_valkey,
)
from benchmarks.baselines.usual_worker import Options
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams

FILLS = 2
READY_S_MAX = 60.0
TABLE = """
CREATE TABLE bench_usual_orders (
    order_id text PRIMARY KEY, account text NOT NULL, symbol text NOT NULL,
    side integer NOT NULL, quantity bigint NOT NULL,
    price bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
)
"""
DROP = "DROP TABLE IF EXISTS bench_usual_orders"


async def measure(
    postgres_url: str, *, orders: int, workers: int, is_synced: bool
) -> dict[str, float]:
    """Run the service over `orders` orders in all. Returns: orders per second."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-usual-") as name:
        directory = Path(name)
        async with (
            scratch_nats(directory / "nats", is_synced=is_synced) as nats,
            scratch_valkey(directory / "valkey") as valkey_url,
        ):
            await _prepare(nats, postgres_url)
            try:
                return await _run(
                    nats, postgres_url, valkey_url, max(1, orders // FILLS // workers), workers
                )
            finally:
                await _execute(postgres_url, DROP)


async def _prepare(nats: ScratchNats, postgres_url: str) -> None:
    await _execute(postgres_url, DROP, TABLE)
    connection = await nats.connect()
    try:
        await make_stream(connection, "USUAL_FILLS", ("usual.fills",))
        await make_stream(connection, "USUAL_ORDERS", ("usual.orders.*",))
    finally:
        await connection.close()


async def _publish_fills(connection: NatsConnection) -> None:
    streams = NatsStreams(connection)
    for number in range(FILLS):
        fill = {
            "fill_id": f"f{number}",
            "symbol": "ACME",
            "side": 1,
            "quantity": 1_000_000,
            "equity": 10_000,
            "price": 100_000_000,
        }
        await streams.publish("usual.fills", msgspec.json.encode(fill), message_id=f"f{number}")


async def _execute(postgres_url: str, *statements: str) -> None:
    database = await asyncpg.connect(postgres_url)
    try:
        for statement in statements:
            await database.execute(statement)
    finally:
        await database.close()


async def _run(
    nats: ScratchNats, postgres_url: str, valkey_url: str, accounts: int, workers: int
) -> dict[str, float]:
    options = Options(
        nats.url, nats.user, nats.password, postgres_url, valkey_url, 0, accounts, FILLS
    )
    each = [msgspec.structs.replace(options, worker=worker) for worker in range(workers)]
    connection = await nats.connect()
    ready = asyncio.Semaphore(0)
    try:
        await connection.subscribe("usual.ready", lambda *_: ready.release())
        await connection.confirm()
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(run_json("benchmarks.baselines.usual_worker", one))
                for one in each
            ]
            async with asyncio.timeout(READY_S_MAX):
                for _ in each:
                    await ready.acquire()
            await _publish_fills(connection)
        found = [task.result() for task in running]
    finally:
        await connection.close()
    orders = sum(figures["orders"] for figures in found)
    seconds = max(figures["ended_s"] for figures in found) - min(
        figures["began_s"] for figures in found
    )
    return {"orders_per_s": orders / seconds, "orders": orders, "workers": float(workers)}
