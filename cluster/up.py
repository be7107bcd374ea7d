"""`lockstep up`: a cluster in the foreground, until Ctrl-C, SIGTERM or `lockstep down`."""

import asyncio
import signal
from pathlib import Path

import uvloop

from actors.logging import set_up_logging
from cluster.config import Config
from cluster.credentials import credentials_path
from cluster.supervisor import running_cluster


def run(data: Path, config: Config) -> int:
    """Start a cluster and keep it until it is told to stop. Returns: the exit code."""
    set_up_logging("supervisor")
    return uvloop.run(_run(data, config))


async def _run(data: Path, config: Config) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None

    def stop() -> None:
        # Told again, or before the cluster was up: give up starting, which stops what runs by then.
        if stopping.is_set() or not started:
            main.cancel()
        stopping.set()

    started = False
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    print(f"lockstep: starting in {data}", flush=True)
    try:
        async with running_cluster(data, config) as cluster:
            started = True
            print(f"lockstep: up; NATS listens on {cluster.nats_url}", flush=True)
            print(f"lockstep: credentials for other programs are in {credentials_path(data)}", flush=True)
            print("lockstep: stop with Ctrl-C, or with: lockstep down --data", data, flush=True)
            await stopping.wait()
            print("lockstep: stopping", flush=True)
    except asyncio.CancelledError:
        print("lockstep: stopped while starting", flush=True)
        return 1
    print("lockstep: down", flush=True)
    return 0
