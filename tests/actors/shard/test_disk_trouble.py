"""Commands are refused as long as the supervisor says that the disk is full."""

import asyncio

import msgspec
import pytest

from actors.host.command_router import CommandRouter
from actors.shard import disk_trouble
from actors.shard.progress import HostHeartbeat
from gateways.json.format import JsonFormat
from gateways.memory.bus import MemoryBus
from gateways.memory.server import MemoryServer
from tests.actors.memory_shards import SETTINGS, MemoryShards, turns

WORD = msgspec.json.encode(HostHeartbeat("supervisor", "supervisor", 1, {}, "disk_full: no room"))


async def reason_of(bus: MemoryBus) -> str:
    """Ask for nothing at all. Returns: the reason for which it is refused."""
    return str(
        msgspec.json.decode(await bus.request("commands.bulk", b"[]", timeout_s=5.0))["reason"]
    )


async def test_account_commands_are_busy_while_the_disk_is_full() -> None:
    bus = MemoryBus(MemoryServer())
    router = CommandRouter(bus, JsonFormat(), SETTINGS, {})
    await router.open()
    assert await reason_of(bus) == "size"
    await bus.publish("hosts.supervisor", WORD)
    assert await reason_of(bus) == "busy"
    await router.close()


async def test_commands_are_taken_again_once_the_supervisor_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_trouble, "HEARD_S_MAX", -1.0)
    bus = MemoryBus(MemoryServer())
    router = CommandRouter(bus, JsonFormat(), SETTINGS, {})
    await router.open()
    await bus.publish("hosts.supervisor", WORD)
    assert await reason_of(bus) == "size"
    await router.close()


async def test_creator_commands_are_busy_while_the_disk_is_full() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.bus.publish("hosts.supervisor", WORD)
    body = msgspec.json.encode({"command_id": "c", "type": "open_creator", "cash": "1"})
    asked = asyncio.create_task(shards.bus.request("commands.creator.anna", body, timeout_s=5.0))
    while not asked.done():
        await turns(creator)
        await asyncio.sleep(0)
    assert msgspec.json.decode(await asked)["reason"] == "busy"
