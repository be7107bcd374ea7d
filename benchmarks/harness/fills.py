"""Publishing fills as a broker's gateway program would: one JetStream publish per fill, on a
schedule or one at a time.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from actors.errors import OutcomeUnknownError
from benchmarks.harness.asking import ask
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import stored_sequence

PRICE = "100"
ANSWER_S_MAX = 30.0
TRIES_MAX = 6
RETRY_S = 0.5


class Plan(NamedTuple):
    """A fill to be published: creator, symbol, side, quantity and price. `quantity` is decimal
    text.
    """

    creator_id: str
    exec_id: str
    symbol: str
    side: str
    quantity: str


class TimedFill(NamedTuple):
    """A published fill: its intended time, its publish time, its acknowledgement time and its
    sequence.
    """

    plan: Plan
    intended_ns: int
    sent_ns: int
    stored_ns: int
    sequence: int


def alternating(creator_ids: list[str], prefix: str, *, symbol: str = "ACME") -> Iterator[Plan]:
    """Plan fills without end, for the creators in turn. Each creator buys for 1 % of its equity,
    sells half of that, and buys again.
    """
    turn = 0
    while True:
        side, quantity = ("buy", "100000") if turn % 2 == 0 else ("sell", "50000")
        for creator_id in creator_ids:
            yield Plan(creator_id, f"{prefix}-{turn}-{creator_id}", symbol, side, quantity)
        turn += 1


async def publish(
    connection: NatsConnection, plan: Plan, intended_ns: int | None = None
) -> TimedFill:
    """Publish one fill and wait until JetStream has stored it."""
    sent_ns = time.time_ns()
    when = datetime.fromtimestamp(sent_ns / 1e9, UTC).isoformat()
    data = (
        f'{{"exec_id":"{plan.exec_id}","creator_id":"{plan.creator_id}",'
        f'"symbol":"{plan.symbol}","side":"{plan.side}",'
        f'"last_qty":"{plan.quantity}","last_px":"{PRICE}","transact_time":"{when}"}}'
    )
    subject = f"fills.paper.{plan.creator_id}"
    # It counts once, however often it is stored; the clock of this fill goes on.
    answer = await ask(
        connection,
        subject,
        data.encode(),
        deadline_s=ANSWER_S_MAX,
        tries_max=TRIES_MAX,
        pause_s=RETRY_S,
    )
    if answer is None:
        raise OutcomeUnknownError(
            f"publish to {subject}: expected an answer within {TRIES_MAX} tries, found none"
        )
    sequence = stored_sequence(answer, f"publish to {subject}")
    return TimedFill(plan, intended_ns or sent_ns, sent_ns, time.time_ns(), sequence)


async def publish_on_schedule(
    connection: NatsConnection, plans: Iterator[Plan], *, per_s: float, seconds: float
) -> list[TimedFill]:
    """Publish in open loop: each fill leaves at its time, whatever became of those before. A
    late fill leaves at once and is measured from its intended time.
    """
    tasks: list[asyncio.Task[TimedFill]] = []
    began_ns = time.time_ns() + 20_000_000
    for number in range(round(per_s * seconds)):
        intended_ns = began_ns + int(number * 1e9 / per_s)
        early_s = (intended_ns - time.time_ns()) / 1e9
        # Yielding at least now and then lets acknowledgements in.
        if early_s > 0 or number % 16 == 0:
            await asyncio.sleep(max(0.0, early_s))
        tasks.append(asyncio.create_task(publish(connection, next(plans), intended_ns)))
    return list(await asyncio.gather(*tasks))
