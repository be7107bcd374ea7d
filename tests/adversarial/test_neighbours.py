"""A shard that has failed keeps its host alive for an operator; its neighbours on that host go on."""

import asyncio
from typing import Any

import msgspec
import pytest

from actors import command_router
from actors.command_router import CommandRouter
from actors.errors import OperatingError
from actors.follower import FollowerShardActor
from actors.recovery import Phase
from engine.identity import shard_of
from tests.adversarial.stage import SETTINGS, Stage, turns

TWO = msgspec.structs.replace(SETTINGS, follower_shards=2)


async def test_commands_for_a_failed_shard_leave_its_neighbours_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_router, "REQUESTS_MAX", 20)
    stage = Stage(TWO)
    actors = {}
    for shard in (0, 1):
        actors[shard] = FollowerShardActor(shard, f"follower-{shard}", stage.ports, TWO)
        await actors[shard].start()
        actors[shard].core.enter(Phase.LIVE)
    actors[0].core.enter(Phase.FAILED)
    router = CommandRouter(stage.bus, stage.ports.wire, TWO, actors)
    await router.open()
    names = [f"account-{number}" for number in range(100)]
    lost = [name for name in names if shard_of(name, 2) == 0][:30]
    (kept,) = [name for name in names if shard_of(name, 2) == 1][:1]

    async def ask(account: str) -> Any:
        body = msgspec.json.encode({"command_id": "open", "type": "open_account"})
        try:
            return msgspec.json.decode(
                await stage.bus.request(f"commands.account.{account}", body, timeout_s=0.2)
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
