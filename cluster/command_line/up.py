"""`lockstep up`: a cluster in the foreground, until Ctrl-C, SIGTERM or `lockstep down`."""

import asyncio
from pathlib import Path

from cluster.command_line.terminal import set_up_supervisor_logging
from cluster.config.credentials import credentials_path
from cluster.config.options import Config
from cluster.running.stopping import run_until_stopped
from cluster.running.supervisor import running_cluster


def run(data: Path, config: Config) -> int:
    """Start a cluster and keep it until it is told to stop. Returns: the exit code, 1 when it was
    stopped before it was up.
    """
    set_up_supervisor_logging()
    was_up = False

    async def keep() -> int:
        nonlocal was_up
        _print(f"starting in {data}")
        async with running_cluster(data, config) as cluster:
            was_up = True
            _print(f"up; NATS listens on {cluster.nats_url}")
            _print(f"credentials for other programs are in {credentials_path(data)}")
            _print(f"stop with Ctrl-C, or with: lockstep down --data {data}")
            await asyncio.Event().wait()
        raise AssertionError("a cluster is stopped by cancelling")

    def stopped() -> int:
        _print("down" if was_up else "stopped while starting; nothing of it runs")
        return 0 if was_up else 1

    return run_until_stopped(keep(), stopped=stopped)


def _print(text: str) -> None:
    print(f"lockstep: {text}", flush=True)
