"""A supervisor reduced to its Ray: starts it for a data directory with one host, says so, and waits
to be killed.
"""

import asyncio
import sys
import time
from pathlib import Path

import psutil

from actors.host.host import HostSpec
from actors.settings import ShardSettings
from cluster.config.credentials import ensure_credentials
from cluster.config.file import read_secrets
from cluster.config.options import Config
from cluster.placement.ray_start import start_ray
from cluster.processes.run_file import RunFile
from gateways.connections import ConnectionOptions
from gateways.nats.connection import NatsConnectionOptions
from gateways.postgres.snapshots import PostgresConnectionOptions

NOWHERE = ConnectionOptions(
    nats=NatsConnectionOptions(url="nats://127.0.0.1:1", user="x", password="x"),
    postgres=PostgresConnectionOptions(dsn="postgresql://127.0.0.1:1/x"),
)


async def main(data: Path) -> None:
    """Start Ray and a host that looks for a NATS that is not there, print the host's process id,
    and wait.
    """
    cluster = await start_ray(
        data, Config(), ensure_credentials(data, ["paper"]), read_secrets({}), RunFile(data)
    )
    host = cluster.start_host(
        HostSpec("creator", (0,), "creator-0-test-1", ShardSettings(1, 1)), NOWHERE
    )
    await host.started()
    print(await asyncio.to_thread(_host_pid), flush=True)
    await cluster.record_processes()
    print("recorded", flush=True)
    if await asyncio.to_thread(sys.stdin.readline):
        await cluster.stop(stop_s_max=5)
        print("stopped", flush=True)


def _host_pid() -> int:
    while True:
        for child in psutil.Process().children(recursive=True):
            if "CreatorActor" in child.name():
                return int(child.pid)
        time.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
