"""One worker of the usual service (`usual_service`): options on stdin, figures on stdout."""

import asyncio
import random
import sys
import time
from typing import Any

import asyncpg
import msgspec
import redis.asyncio
import uvloop

from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.streams import NatsStreams

BATCH = 500
INSERT = """
INSERT INTO bench_usual_orders (order_id, account, symbol, side, quantity, price)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[])
ON CONFLICT DO NOTHING
"""


class Options(msgspec.Struct, frozen=True):
    """Addresses of the servers, and the accounts that this worker serves."""

    nats_url: str
    nats_user: str
    nats_password: str
    postgres_url: str
    valkey_url: str
    worker: int
    accounts: int
    fills: int = 2
    seed: int = 1


async def work(options: Options) -> dict[str, float]:
    """Copy each fill to every account. Returns: orders, and the seconds from the first fill
    taken to the last order acknowledged.
    """
    chance = random.Random(f"{options.seed}/{options.worker}")
    accounts = [
        (f"account-{options.worker}-{number}", chance.randrange(5_000, 50_000))
        for number in range(options.accounts)
    ]
    nats = await connect_nats(
        NatsConnectionOptions(
            url=options.nats_url, user=options.nats_user, password=options.nats_password
        )
    )
    database: Any = await asyncpg.connect(options.postgres_url)
    cache: Any = redis.asyncio.from_url(options.valkey_url)
    arrived = asyncio.Event()
    feed = await NatsStreams(nats).open_feed(
        "USUAL_FILLS", "usual.fills", after_sequence=0, arrived=arrived
    )
    await nats.publish("usual.ready", b"")
    taken, began = 0, 0.0
    try:
        while taken < options.fills:
            await arrived.wait()
            arrived.clear()
            for message in feed.take(16):
                began = began or time.time()
                taken += 1
                await _copy(msgspec.json.decode(message.data), accounts, database, cache, nats)
        return {"orders": float(taken * len(accounts)), "began_s": began, "ended_s": time.time()}
    finally:
        await feed.close()
        await cache.aclose()
        await database.close()
        await nats.close()


async def _copy(
    fill: Any, accounts: list[tuple[str, int]], database: Any, cache: Any, nats: NatsConnection
) -> None:
    for first in range(0, len(accounts), BATCH):
        orders = [_size(fill, account, cash) for account, cash in accounts[first : first + BATCH]]
        columns = (
            [order[name] for order in orders]
            for name in ("order_id", "account", "symbol", "side", "quantity", "price")
        )
        await database.execute(INSERT, *columns)
        pipeline = cache.pipeline(transaction=False)
        for order in orders:
            pipeline.hincrby(
                f"position:{order['account']}", order["symbol"], order["side"] * order["quantity"]
            )
        await pipeline.execute()
        await asyncio.gather(*(_send(nats, order) for order in orders))


def _size(fill: Any, account: str, cash: int) -> dict[str, Any]:
    return {
        "order_id": f"{fill['fill_id']}-{account}",
        "account": account,
        "symbol": fill["symbol"],
        "side": fill["side"],
        "quantity": cash * fill["quantity"] // fill["equity"],
        "price": fill["price"],
    }


async def _send(nats: NatsConnection, order: dict[str, Any]) -> None:
    await nats.request(
        f"usual.orders.{order['account']}", msgspec.json.encode(order), deadline_s=60.0
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(
            uvloop.run(work(msgspec.json.decode(sys.stdin.buffer.read(), type=Options)))
        )
    )
