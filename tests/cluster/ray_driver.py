"""A supervisor reduced to its Ray: starts it for a data directory with one actor, says so, and waits to be killed."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from cluster.config import Config
from cluster.config_file import read_secrets
from cluster.credentials import ensure_credentials
from cluster.ray_cluster import start_ray
from cluster.run_file import RunFile


class Idle:
    """An actor that tells where it is."""

    async def pid(self) -> int:
        """Tell the actor's process id."""
        return os.getpid()


async def main(data: Path) -> None:
    """Start Ray, print the actor's process id, and wait."""
    cluster = await start_ray(
        data, Config(), ensure_credentials(data, ["paper"]), read_secrets({}), RunFile(data)
    )
    import ray

    actor: Any = ray.remote(num_cpus=0)(Idle).remote()
    print(await actor.pid.remote(), flush=True)
    await cluster.record_processes()
    print("recorded", flush=True)
    if sys.stdin.readline():
        await cluster.stop(stop_s_max=5)
        print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
