"""`python -m tests.actors.host.spare_hosts DIR`: a Ray of its own, a host that is killed, and the
one that takes its place.

Prints three process ids: of the host killed, of the spare that waited meanwhile, and of the host
started then.
"""

import asyncio
import functools
import os
import signal
import sys
from pathlib import Path

import ray

from actors.host import ray_actors as remote
from actors.host.host import Connected, HostSpec
from actors.settings import ShardSettings


async def connect(told: Path) -> Connected:
    """Print the process that a host runs in; it never gets further."""
    with told.open("w") as pipe:
        pipe.write(str(os.getpid()))
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def told_pid(told: Path) -> int:
    """Wait for a host to tell its process."""
    return int(await asyncio.to_thread(told.read_text))


async def take_turns(directory: Path) -> None:
    """Start a host, wait for its spare, kill the host, start the next."""
    first_told, second_told = directory / "first", directory / "second"
    for told in (first_told, second_told):
        os.mkfifo(told)
    spec = HostSpec("follower", (0,), "follower-0-test-1", ShardSettings(1, 1))
    first = remote.start_host(spec, functools.partial(connect, first_told))
    ended = asyncio.create_task(first.ended())
    killed = await told_pid(first_told)
    spare = await remote.waiting_spare("follower")
    os.kill(killed, signal.SIGKILL)
    await ended
    second = remote.start_host(spec, functools.partial(connect, second_told))
    print(killed, spare, await told_pid(second_told), flush=True)
    second.kill()
    await second.ended()


def main() -> None:
    """Run it on a Ray that ends with it."""
    directory = Path(sys.argv[1])
    remote.SPARE_AFTER_S = 0.0
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(directory),
    )
    try:
        asyncio.run(take_turns(directory))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
