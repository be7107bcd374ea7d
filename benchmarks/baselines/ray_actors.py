"""Baseline (a): the literal design, one Ray actor a follower, one actor call an order.

    creator --call--> follower actor 1 ... N --order--> creator

Each actor sizes its own order in memory; nothing is stored or sent to a broker, so the figure flatters this design. A Ray actor is a
process of about 60 MB, so N is small, and the rate does not depend on it.
"""

import asyncio
import time
from typing import Any

from benchmarks.baselines.plain_objects import MICROS, Subscription


class LiteralFollower:
    """A follower account as an actor of its own."""

    def __init__(self, account: str) -> None:
        self._subscription = Subscription(account, 10_000 * MICROS, MICROS)

    def copy(self, signal: int, quantity: int, equity: int) -> tuple[int, str, int]:
        """Size this account's order."""
        order = self._subscription.copy(signal, quantity, equity, 100)
        return (order.order_id, order.account, order.quantity) if order is not None else (0, "", 0)


async def measure(actors_count: int, *, seconds: float = 3.0) -> dict[str, float]:
    """Start the actors on the cluster's Ray, then call all of them fill after fill. Ray must be connected."""
    return await asyncio.to_thread(_measure, actors_count, seconds)


def _measure(actors_count: int, seconds: float) -> dict[str, float]:
    import ray

    remote: Any = ray.remote(LiteralFollower)
    began = time.perf_counter()
    actors = [
        remote.options(num_cpus=0, enable_task_events=False).remote(f"account-{number}")
        for number in range(actors_count)
    ]
    ray.get([actor.copy.remote(0, 10_000_000_000_000, 10**15) for actor in actors])
    started_s = time.perf_counter() - began
    began, orders, signal = time.perf_counter(), 0, 0
    while time.perf_counter() - began < seconds:
        signal += 1
        orders += len(ray.get([actor.copy.remote(signal, 1_000_000_000, 10**15) for actor in actors]))
    rate = orders / (time.perf_counter() - began)
    for actor in actors:
        ray.kill(actor)
    return {
        "orders_per_s": rate,
        "actors": float(actors_count),
        "actors_started_per_s": actors_count / started_s,
    }
