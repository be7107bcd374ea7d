"""Waiting for load to go on and for a killed part to be replaced."""

import asyncio
import time
from collections.abc import Callable

from tests.faults.kill.running import RunningCluster
from tests.faults.kill.strikes import Victim, victims
from tests.load import Load, LoadSettings

REPLACED_S_MAX = 60.0


FILLS_BEFORE = 30


FILLS_AFTER = 20


SETTINGS = LoadSettings(pace_s=0.04)


async def until(is_true: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + REPLACED_S_MAX
    while not is_true():
        assert time.monotonic() < give_up_s, f"expected {what} within {REPLACED_S_MAX:.0f} s"
        await asyncio.sleep(0.02)


async def until_fills(load: Load, count: int) -> None:
    wanted = len(load.fills) + count
    await until(lambda: len(load.fills) >= wanted, f"{count} more fills acknowledged")


async def victim_of(part: str, cluster: RunningCluster, load: Load) -> Victim:
    await until(lambda: bool(victims(part, cluster.run, load.heard)), f"a live {part}")
    return victims(part, cluster.run, load.heard)[0]
