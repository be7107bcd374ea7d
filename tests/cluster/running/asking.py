"""Connecting to a running cluster, and asking until the answer is as wanted."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.errors import OperatingError
from cluster.config.credentials import read_credentials
from gateways.nats.connection import NatsConnection, connect_nats

WAIT_S_MAX = 60.0


async def connected(data: Path, role: str) -> NatsConnection:
    """Connect as one of the cluster's users."""
    credentials = read_credentials(data)
    return await connect_nats(credentials.users[role].connection(credentials.nats_url, role))


async def until(ask: Callable[[], Awaitable[Any]], is_so: Callable[[Any], bool]) -> Any:
    """Ask until the answer is as wanted, within a bound."""
    give_up_s, answer = time.monotonic() + WAIT_S_MAX, None
    while time.monotonic() < give_up_s:
        try:
            answer = await ask()
        except OperatingError as error:
            answer = error
        else:
            if is_so(answer):
                return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"expected another answer within {WAIT_S_MAX} s, found {answer}")
