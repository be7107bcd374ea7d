"""The population of a benchmark: creators with equal numbers of followers, made from a seed and
loaded through the public bulk protocol.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from benchmarks.harness.asking import ask
from benchmarks.harness.progress import Reporter
from cluster.errors import ClusterError
from cluster.terminal.steps import Step
from gateways.nats.connection import NatsConnection

BATCH_SUBSCRIPTIONS = 4_000
"""Subscriptions in one bulk message: two commands each, about 1 MiB."""
OUTSTANDING = 3
CREATORS_AT_ONCE = 256
ANSWER_S_MAX = 60.0
TRIES_MAX = 10
RETRY_S = 0.2
CREATOR_CASH = "1000000000"


class Group(NamedTuple):
    """`creators` creators with `followers` accounts each, one subscription per account. `prefix`
    begins every id.
    """

    prefix: str
    creators: int
    followers: int

    def creator_id(self, number: int) -> str:
        """Return the id of a creator."""
        return f"{self.prefix}-c{number}"

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions."""
        return self.creators * self.followers


class _Answer(msgspec.Struct):
    ok: bool
    reason: str = ""
    error: str = ""


class LoadingError(ClusterError):
    """Accounts could not be loaded. It tells the refused command and the reason."""


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_answers = msgspec.json.Decoder(list[_Answer]).decode


async def load(
    connection: NatsConnection, groups: list[Group], *, seed: int, reporter: Reporter
) -> dict[str, Any]:
    """Open creators, accounts and subscriptions. Returns: counts, seconds and the rate. Raises:
    LoadingError.
    """
    total = sum(group.subscriptions for group in groups)
    for group in groups:
        await _open_creators(connection, group)
    began = time.monotonic()
    with reporter.step(f"loading {total:,} subscriptions", total) as step:
        batches = (batch for group in groups for batch in _batches(group, seed))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(OUTSTANDING):
                tasks.create_task(_send_all(connection, batches, step))
    seconds = time.monotonic() - began
    return {
        "subscriptions": total,
        "creators": sum(group.creators for group in groups),
        "seconds": round(seconds, 3),
        "subscriptions_per_s": round(total / seconds, 1) if seconds else 0.0,
    }


async def _open_creators(connection: NatsConnection, group: Group) -> None:
    for first in range(0, group.creators, CREATORS_AT_ONCE):
        numbers = range(first, min(first + CREATORS_AT_ONCE, group.creators))
        await asyncio.gather(
            *(_open_creator(connection, group.creator_id(number)) for number in numbers)
        )


async def _open_creator(connection: NatsConnection, creator_id: str) -> None:
    body = {"command_id": f"open-{creator_id}", "type": "open_creator", "cash": CREATOR_CASH}
    answer = _decode_answer(
        await _ask(connection, f"commands.creator.{creator_id}", msgspec.json.encode(body))
    )
    if not answer.ok:
        raise LoadingError(
            f"creator {creator_id}: expected it opened, found {answer.reason}: {answer.error}"
        )


def _batches(group: Group, seed: int) -> Iterator[list[bytes]]:
    """Build the commands batch by batch. Ratio and cash differ between accounts."""
    chance = random.Random(f"{seed}/{group.prefix}")
    batch: list[bytes] = []
    # Creators in turn, so that a creator's accounts are not neighbours in a shard.
    for follower in range(group.followers):
        for creator in range(group.creators):
            account = f"{group.prefix}-{creator}-{follower}"
            cash, ratio = (
                chance.randrange(5_000, 50_000),
                chance.choice(("1", "1", "1", "0.5", "1.25")),
            )
            batch.append(
                b'{"command_id":"o-%(a)b","type":"open_account","account_id":"%(a)b"},'
                b'{"command_id":"f-%(a)b","type":"follow","account_id":"%(a)b",'
                b'"creator_id":"%(c)b","cash":"%(m)d","ratio":"%(r)b"}'
                % {
                    b"a": account.encode(),
                    b"c": group.creator_id(creator).encode(),
                    b"m": cash,
                    b"r": ratio.encode(),
                }
            )
            if len(batch) == BATCH_SUBSCRIPTIONS:
                yield batch
                batch = []
    if batch:
        yield batch


async def _send_all(connection: NatsConnection, batches: Iterator[list[bytes]], step: Step) -> None:
    # Each sender draws the next batch when it is free.
    for batch in batches:
        data = b"[" + b",".join(batch) + b"]"
        answers = _decode_answers(await _ask(connection, "commands.bulk", data))
        wrong = next((answer for answer in answers if not answer.ok), None)
        if wrong is not None or len(answers) != 2 * len(batch):
            raise LoadingError(
                f"commands.bulk: expected {2 * len(batch)} commands taken, "
                f"found {len(answers)} answers and {wrong}"
            )
        step.advance(len(batch))


async def _ask(connection: NatsConnection, subject: str, data: bytes) -> bytes:
    """Ask until answered. A command repeated under its id gets the same answer."""
    answer = await ask(
        connection,
        subject,
        data,
        deadline_s=ANSWER_S_MAX,
        tries_max=TRIES_MAX,
        pause_s=RETRY_S,
        is_final=lambda answer: b'"reason":"busy"' not in answer,
    )
    if answer is not None:
        return answer
    raise LoadingError(f"{subject}: expected an answer within {TRIES_MAX} tries, found none")
