"""A shard that moves between two hosts while its neighbour stays, on real servers and a Ray of its
own.

    python -m tests.actors.host.moving_shard DIR OPTIONS

Prints JSON: the owners of both shards in order, the last phase of the released shard, and the
answers to one command before and after.
"""

import asyncio
import functools
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import ray

from actors.errors import OperatingError
from actors.history_reader import FrameReader
from actors.host import ray_actors
from actors.host.host import HostSpec
from actors.ports import Request
from actors.settings import ShardSettings
from engine.journal.events.shard import OwnerFenced
from engine.journal.frame import ShardKey, ShardKind
from gateways.connections import ConnectionOptions, connect
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.journal import NatsJournal

SETTINGS = ShardSettings(creator_shards=1, follower_shards=2)
WAIT_S_MAX = 60.0


async def command(bus: NatsBus, account: str) -> Any:
    """Open an account, always with the same command. Returns: the answer, once there is one."""
    body = {"command_id": "open", "type": "open_account", "account_id": account}
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            try:
                answer = await bus.request(
                    "commands.bulk", json.dumps([body]).encode(), timeout_s=5.0
                )
            except OperatingError:
                await asyncio.sleep(0.05)
                continue
            (found,) = msgspec.json.decode(answer)
            if found["ok"]:
                return found


async def owners(connection: NatsConnection) -> list[list[str]]:
    """Return the owners of both shards, in order, as their journals name them."""
    found = []
    for shard in range(SETTINGS.follower_shards):
        reader = FrameReader(NatsJournal(connection), ShardKey(ShardKind.FOLLOWER, shard))
        found.append(
            [
                event.incarnation
                async for frame in reader.frames()
                for event in frame.events
                if isinstance(event, OwnerFenced)
            ]
        )
    return found


async def move(options: ConnectionOptions) -> None:
    """Start both hosts, open accounts in both shards, move one shard, open the accounts again."""
    connection = await connect_nats(options.nats)
    bus, heard, are_heard = NatsBus(connection), set[str](), asyncio.Event()

    def hear(request: Request) -> None:
        heard.add(request.subject)
        if len(heard) == 2:
            are_heard.set()

    await bus.subscribe("hosts.*", hear)
    connecting = functools.partial(connect, options)
    hosts = [
        ray_actors.start_host(HostSpec("follower", shards, name, SETTINGS), connecting)
        for name, shards in (("first", (0, 1)), ("second", ()))
    ]
    ends = [asyncio.create_task(host.ended()) for host in hosts]
    async with asyncio.timeout(WAIT_S_MAX):
        await are_heard.wait()
    accounts = [f"account-{number}" for number in range(8)]
    before = [await command(bus, account) for account in accounts]
    ended = await hosts[0].release((0,))
    await hosts[1].assign((0,))
    after = [await command(bus, account) for account in accounts]
    for host in hosts:
        host.ask_to_stop()
    await asyncio.gather(*ends)
    told = {shard: phase.value for shard, phase in ended.items()}
    print(json.dumps([await owners(connection), told, before, after]), flush=True)
    await connection.close()


def main() -> None:
    """Run it on a Ray that ends with it."""
    options = msgspec.json.decode(sys.argv[2], type=ConnectionOptions)
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(Path(sys.argv[1])),
    )
    try:
        asyncio.run(move(options))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
