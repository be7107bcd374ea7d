"""A shard that has failed keeps its host alive for an operator; its neighbours on that host go
on.
"""

import asyncio
from typing import Any

import msgspec
import pytest

from actors.errors import OperatingError
from actors.follower.actor import FollowerShardActor
from actors.host import command_router
from actors.host.command_router import CommandRouter
from actors.shard.recovery import Phase
from engine.values.ids import shard_of
from tests.actors.memory_shards import SETTINGS, MemoryShards, turns

TWO = msgspec.structs.replace(SETTINGS, follower_shards=2)


async def follower_shards(
    shards: MemoryShards,
) -> tuple[dict[int, FollowerShardActor], CommandRouter]:
    """Two shards and their router."""
    actors = {}
    for shard in (0, 1):
        actors[shard] = FollowerShardActor(shard, f"follower-{shard}", shards.ports, TWO)
        await actors[shard].start()
        actors[shard].core.standing.enter(Phase.LIVE)
    router = CommandRouter(shards.bus, shards.ports.message_format, TWO, actors)
    await router.open()
    return actors, router


async def asked_in_bulk(
    shards: MemoryShards, actors: dict[int, FollowerShardActor], body: list[Any]
) -> Any:
    """Send a bulk request. Returns: the answers."""
    data = msgspec.json.encode(body)
    answer = asyncio.create_task(shards.bus.request("commands.bulk", data, timeout_s=5.0))
    while not answer.done():
        await asyncio.sleep(0)
        await turns(*(actor for actor in actors.values() if not actor.core.phase.is_over))
    return msgspec.json.decode(await answer)


def opening(account: str, **fields: Any) -> dict[str, Any]:
    return {
        "command_id": f"open-{account}",
        "type": "open_account",
        "account_id": account,
        **fields,
    }


async def test_a_failed_shard_does_not_hold_back_its_neighbours_answers_to_a_bulk_request() -> None:
    shards = MemoryShards(TWO)
    actors, router = await follower_shards(shards)
    actors[0].core.standing.enter(Phase.FAILED)
    names = [f"account-{number}" for number in range(20)]
    answers = await asked_in_bulk(shards, actors, [opening(name) for name in names])
    for name, answer in zip(names, answers, strict=True):
        assert answer["ok"] if shard_of(name, 2) == 1 else answer["reason"] == "busy", answer
    await router.close()


async def test_missing_dedicated_shards_are_asked_together_and_hold_no_other_answers_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked in turn, their deadlines would add up beyond the client's own."""
    monkeypatch.setattr(command_router, "DEDICATED_S_MAX", 1.0)
    shards = MemoryShards(TWO)
    actors, router = await follower_shards(shards)
    names = [f"account-{number}" for number in range(20)]
    await asked_in_bulk(
        shards, actors, [opening(name, dedicated=name < "account-2") for name in names]
    )
    pauses = [
        {"command_id": "p", "type": "pause", "account_id": name, "creator_id": "anna"}
        for name in names
    ]
    answers = await asked_in_bulk(shards, actors, pauses)
    for name, answer in zip(names, answers, strict=True):
        assert answer["reason"] == ("busy" if name < "account-2" else "unknown_subscription"), (
            answer
        )
    await router.close()


async def test_requests_of_too_many_bytes_are_answered_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_router, "REQUESTS_BYTES_MAX", 2000)
    shards = MemoryShards(TWO)
    _, router = await follower_shards(shards)
    body = msgspec.json.encode([opening(f"account-{number}") for number in range(20)])
    asked = [
        asyncio.create_task(shards.bus.request("commands.bulk", body, timeout_s=5.0))
        for _ in range(3)
    ]
    for _ in range(4):
        await asyncio.sleep(0)
    assert [each.done() for each in asked] == [False, True, True]
    assert msgspec.json.decode(await asked[1])["reason"] == "busy"
    await router.close()
    asked[0].cancel()
    await asyncio.gather(asked[0], return_exceptions=True)


async def test_commands_for_a_failed_shard_leave_its_neighbours_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_router, "REQUESTS_MAX", 20)
    shards = MemoryShards(TWO)
    actors, router = await follower_shards(shards)
    actors[0].core.standing.enter(Phase.FAILED)
    names = [f"account-{number}" for number in range(100)]
    lost = [name for name in names if shard_of(name, 2) == 0][:30]
    (kept,) = [name for name in names if shard_of(name, 2) == 1][:1]

    async def ask(account: str) -> Any:
        body = msgspec.json.encode({"command_id": "open", "type": "open_account"})
        try:
            return msgspec.json.decode(
                await shards.bus.request(f"commands.account.{account}", body, timeout_s=0.2)
            )
        except OperatingError:
            return None

    asked = [asyncio.create_task(ask(account)) for account in lost]
    await asyncio.sleep(0.01)
    answer = asyncio.create_task(ask(kept))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await turns(actors[1])
    found = await answer
    assert found is not None
    assert found["ok"], found
    assert not any(answer and answer["ok"] for answer in await asyncio.gather(*asked))
    await router.close()
