"""Baseline (a): the literal design, one Ray actor per follower, one actor call per order.

    creator --call--> follower actor 1 ... N --order--> creator

Each actor sizes its own order in memory. Nothing is stored or sent to a broker, so the figure
flatters this design. A Ray actor is a process of about 60 MB, so N is small, and the rate does not
depend on it. The creator is a process of its own on the cluster's Ray.
"""

import logging
import sys
import time
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.baselines.plain_objects import MICROS, Subscription
from benchmarks.baselines.servers import run_json
from cluster.errors import ClusterError
from cluster.placement.ray_start import ray_environment
from cluster.processes.run_file import read_run


class Options(msgspec.Struct, frozen=True):
    """The address of Ray, the number of actors, and the seconds of calling."""

    address: str
    actors: int
    seconds: float = 3.0


class LiteralFollower:
    """A follower account as an actor of its own."""

    def __init__(self, account: str) -> None:
        self._subscription = Subscription(account, 10_000 * MICROS, MICROS)

    def copy(self, signal: int, quantity: int, equity: int) -> tuple[int, str, int]:
        """Size this account's order."""
        order = self._subscription.copy(signal, quantity, equity, 100)
        return (order.order_id, order.account, order.quantity) if order is not None else (0, "", 0)


async def measure(data: Path, *, actors: int) -> dict[str, float]:
    """Start the actors on a running cluster's Ray, then call all of them fill after fill."""
    run = read_run(data)
    if run is None or "ray" not in run.addresses:
        raise ClusterError(f"{data}: expected a cluster with its Ray, found none")
    options = Options(run.addresses["ray"], actors)
    return await run_json(
        "benchmarks.baselines.ray_actors", options, environment=ray_environment(data)
    )


def join_and_call(options: Options) -> dict[str, float]:
    """Join Ray and call the actors. All that it starts ends with this process."""
    with warnings.catch_warnings():
        # Ray warns about its own coming defaults on import; nothing here depends on them.
        warnings.simplefilter("ignore")
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(
            address=options.address,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    try:
        return _call(ray, options)
    finally:
        ray.shutdown()


def _call(ray: Any, options: Options) -> dict[str, float]:
    remote: Any = ray.remote(LiteralFollower)
    began = time.perf_counter()
    actors = [
        remote.options(num_cpus=0, enable_task_events=False).remote(f"account-{number}")
        for number in range(options.actors)
    ]
    ray.get([actor.copy.remote(0, 10_000_000_000_000, 10**15) for actor in actors])
    started_s = time.perf_counter() - began
    began, orders, signal = time.perf_counter(), 0, 0
    while time.perf_counter() - began < options.seconds:
        signal += 1
        orders += len(
            ray.get([actor.copy.remote(signal, 1_000_000_000, 10**15) for actor in actors])
        )
    rate = orders / (time.perf_counter() - began)
    return {
        "orders_per_s": rate,
        "actors": float(options.actors),
        "actors_started_per_s": options.actors / started_s,
    }


def main() -> None:
    """Read the options and print the figures. What Ray prints meanwhile is no figure."""
    options = msgspec.json.decode(sys.stdin.buffer.read(), type=Options)
    with redirect_stdout(StringIO()):
        figures = join_and_call(options)
    sys.stdout.buffer.write(msgspec.json.encode(figures))


if __name__ == "__main__":
    main()
