"""`lockstep up`: a cluster in the foreground, until Ctrl-C, SIGTERM or `lockstep down`."""

import asyncio
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path

import structlog

from cluster.config.credentials import credentials_path
from cluster.config.options import Config
from cluster.running.stopping import run_until_stopped
from cluster.running.supervisor import running_cluster
from cluster.terminal.log_format import LogFormat
from cluster.terminal.terminal import Terminal, hosts_live, sentence_of

_log = structlog.get_logger()


def run(data: Path, config: Config, log_format: LogFormat | None = None) -> int:
    """Start a cluster and keep it until it is told to stop. Returns: the exit code, 1 when it was
    stopped before it was up.
    """
    terminal = Terminal(
        "supervisor", log_path=data / "logs" / "supervisor.log", log_format=log_format
    )
    terminal.take_log()
    was_up = False

    def tell(event: str, **known: str) -> None:
        """Log an event, and print it where a program reads what this command says."""
        _log.info(event, **known)
        say(event, **known)

    def say(event: str, **known: str) -> None:
        if not (terminal.is_text and sys.stdout.isatty()):
            print(f"lockstep: {sentence_of({'event': event, **known})}", flush=True)

    async def keep() -> int:
        nonlocal was_up
        # Not logged in JSON: a directory that is refused is one line on stderr and no more.
        if terminal.is_text:
            _log.info("cluster_starting", data=str(data))
        say("cluster_starting", data=str(data))
        async with AsyncExitStack() as stack:
            with terminal.step("starting, hosts live", watch=hosts_live):
                cluster = await stack.enter_async_context(running_cluster(data, config))
            was_up = True
            tell("cluster_up", nats_url=cluster.nats_url)
            tell("credentials_written", path=str(credentials_path(data)))
            tell("how_to_stop", command=f"lockstep down --data {data}")
            await asyncio.Event().wait()
        raise AssertionError("a cluster is stopped by cancelling")

    def stopped() -> int:
        tell("cluster_down" if was_up else "cluster_not_started")
        return 0 if was_up else 1

    with closing(terminal):
        return run_until_stopped(keep(), stopped=stopped)
