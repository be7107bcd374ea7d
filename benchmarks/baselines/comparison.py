"""The baselines beside fanout, in the same run and on the same machine, while the cluster is idle;
and the ratios to them.
"""

from typing import Any

import msgspec

from benchmarks.baselines import plain_objects, raw_stream, ray_actors, usual_service
from benchmarks.baselines.servers import run_json
from benchmarks.harness.hops import FillHops
from benchmarks.harness.session import BenchSession
from benchmarks.harness.settings import Count

SYNCED_SHARE = 5
"""The usual service with a sync per message is that much slower, and gets that many fewer orders.
"""


class Sizes(msgspec.Struct, frozen=True):
    """The size at which each baseline runs."""

    ray_actors: Count = 16
    service_orders: Count = 50_000
    plain_objects: Count = 1_000_000


async def compare_with_baselines(
    session: BenchSession, sizes: Sizes, hops: FillHops, ours: dict[str, Any]
) -> dict[str, Any]:
    """Run every baseline. `hops` are those of the largest fan-out's last run, `ours` its
    figures. Returns: `baselines` and `ratios`.
    """
    found: dict[str, dict[str, float]] = {}
    with session.reporter.step("baselines", 6) as step:
        # First: what the others leave behind, sixteen processes that end, would take its cores.
        connection = await session.connect(session.engine_role)
        try:
            found["raw_stream"] = await raw_stream.measure(connection, _chains(hops))
            found["raw_stream_1_mb_8_in_flight"] = await raw_stream.measure(
                connection, [[1 << 20] * 4] * 8
            )
        finally:
            await connection.close()
        step.advance()
        found["plain_objects"] = await run_json(
            "benchmarks.baselines.plain_objects", plain_objects.Options(sizes.plain_objects)
        )
        step.advance()
        database = session.cluster.postgres_url
        for name, workers, is_synced in (
            ("usual_service", 1, False),
            ("usual_service_2_workers", 2, False),
            ("usual_service_synced", 1, True),
        ):
            orders = sizes.service_orders // (SYNCED_SHARE if is_synced else 1)
            found[name] = await usual_service.measure(
                database, orders=orders, workers=workers, is_synced=is_synced
            )
            step.advance()
        found["ray_actors"] = await ray_actors.measure(
            session.cluster.data, actors=sizes.ray_actors
        )
        step.advance()
    return {"baselines": found, "ratios": _ratios(found, ours)}


def _chains(hops: FillHops) -> list[list[int]]:
    """Return the frames of the last fill by shard: sizes in bytes, in order."""
    chains: dict[int, list[int]] = {}
    last = len(hops.intended) - 1
    for frame in hops.frames:
        if last in frame.fills:
            chains.setdefault(frame.shard, []).append(frame.bytes)
    return list(chains.values()) or [[1]]


def _ratios(found: dict[str, dict[str, float]], ours: dict[str, Any]) -> dict[str, float]:
    intents, accepted = ours["durable_intents_per_s"], ours["accepted_orders_per_s"]
    return {
        "intents_to_usual_service": intents / found["usual_service"]["orders_per_s"],
        "intents_to_plain_objects": intents / found["plain_objects"]["orders_per_s"],
        "accepted_to_usual_service": accepted / found["usual_service"]["orders_per_s"],
        "accepted_to_ray_actors": accepted / found["ray_actors"]["orders_per_s"],
        "journal_wait_to_raw_stream": ours["journal_wait_ms"] / found["raw_stream"]["milliseconds"],
        "journal_append_to_raw_stream": ours["journal_append_ms"]
        / found["raw_stream"]["milliseconds"],
    }
