"""A shard that takes no turns holds a bounded number of requests, and of their bytes. A client that
asks without end gets no answer, and asks again.
"""

import asyncio

import msgspec
import pytest

from actors.creator import commands as creator_commands
from actors.creator.actor import CreatorShardActor
from actors.ports import Request
from actors.shard.outputs import ANSWERS_MAX
from tests.actors.memory_shards import MemoryShards, turns


async def asked(
    shards: MemoryShards, actor: CreatorShardActor, subject: str, datas: list[bytes]
) -> list[bytes]:
    """Ask many times before the shard has a turn. Returns: the answers that there are."""
    answers: list[bytes] = []

    async def reply(answer: bytes) -> None:
        answers.append(answer)

    (receive,) = [each.receive for each in shards.server.subscriptions if each.subject == subject]
    for data in datas:
        receive(Request(subject.replace("*", "anna"), data, reply))
    assert not answers
    await turns(actor)
    await asyncio.sleep(0)
    return answers


async def test_a_bounded_number_of_answers_waits_for_a_turn() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    answers = await asked(shards, creator, "shards.creator.0.inspect", [b""] * (2 * ANSWERS_MAX))
    assert len(answers) == ANSWERS_MAX
    assert creator.core.counts.answers_dropped == ANSWERS_MAX
    assert len(await asked(shards, creator, "shards.creator.0.inspect", [b""])) == 1


async def test_commands_of_more_bytes_than_an_inbox_holds_are_answered_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(creator_commands, "INBOX_BYTES_MAX", 10_000)
    shards = MemoryShards()
    creator = await shards.creator()
    large = b" " * 4_000
    for _ in range(2):
        answers = await asked(shards, creator, "commands.creator.*", [large] * 5)
        reasons = sorted(msgspec.json.decode(answer)["reason"] for answer in answers)
        assert reasons == ["busy"] * 3 + ["malformed"] * 2
