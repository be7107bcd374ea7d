"""The commands that one host forwards to another, and their answers, fit into the smallest message
that a cluster may be configured with. A router closes whatever happens meanwhile.
"""

import asyncio

import msgspec

from actors.host.command_router import COMMANDS_MAX, CommandRouter
from cluster.config.options import MIB
from engine.messages.answers import Followed
from engine.messages.commands import Follow
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, RATIO_MAX
from gateways.json.format import JsonFormat
from gateways.memory.bus import MemoryBus
from gateways.memory.server import MemoryServer
from tests.actors.memory_shards import SETTINGS

ID = "x" * 64
LARGEST = Follow(ID, ID, ID, MONEY_MAX, 2, RATIO_MAX, MONEY_MAX, MONEY_MAX, RATIO_MAX, True)
PAYLOAD_BYTES_MIN = 4 * MIB


def test_as_many_commands_as_are_forwarded_at_once_fit_into_a_message() -> None:
    assert len(msgspec.msgpack.encode([LARGEST] * COMMANDS_MAX)) < PAYLOAD_BYTES_MIN


def test_the_answers_to_as_many_commands_fit_into_a_message() -> None:
    long = Refused("subscription_exists", f"account {ID}: expected none, " + "x" * 1000)
    for answer in (Followed(2**32, 2**62), long):
        written = JsonFormat().answer(LARGEST, answer)
        assert len(msgspec.msgpack.encode([written] * COMMANDS_MAX)) < PAYLOAD_BYTES_MIN


async def test_a_router_closes_while_its_shards_are_removed() -> None:
    router = CommandRouter(MemoryBus(MemoryServer()), JsonFormat(), SETTINGS, {})
    await router.open()
    for shard in (0, 1):
        await router.add(shard)
    await asyncio.gather(router.close(), router.remove(0), router.remove(1))
