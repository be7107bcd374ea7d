"""Running the skeleton beside the engine, while the cluster is idle: the same schedule of fills,
the same NATS server.
"""

import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.baselines.servers import delete_stream, make_stream
from benchmarks.harness.histogram import percentiles
from benchmarks.harness.session import BenchSession
from benchmarks.harness.streams import read_stream
from benchmarks.skeleton.__main__ import Options
from benchmarks.skeleton.messages import FILL_BYTES, SIGNALS, Part, decode, encode
from cluster.errors import ClusterError
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams

STREAMS = {
    "SKELETON_FILLS": "skeleton.fills",
    "SKELETON_CREATOR": "skeleton.creator",
    "SKELETON_FOLLOWER": "skeleton.follower.*",
    "SKELETON_EXECUTIONS": "skeleton.executions.*",
}
DRAIN_S_MAX = 60.0


async def run_skeleton(
    session: BenchSession, *, fills_per_s: float, seconds: float, followers: int, shards: int
) -> dict[str, Any]:
    """Run the schedule through the skeleton. Returns: percentiles from the intended time to
    accepted and to updated.
    """
    fills = max(1, round(fills_per_s * seconds))
    roles = [
        ("broker", 0),
        ("gateway", 0),
        *(("follower", shard) for shard in range(shards)),
        ("creator", 0),
    ]
    connection = await session.connect(session.engine_role)
    try:
        await _make_streams(connection)
        with tempfile.TemporaryDirectory(prefix="lockstep-bench-skeleton-") as directory:
            user = session.user(session.engine_role)
            nats = user.connection(session.cluster.nats_url, "bench-skeleton")
            wait_s = session.cluster.config.engine.reports_wait_ms / 1000
            options = Options(
                "", 0, nats, fills, followers, shards, str(Path(directory) / "ledger"), wait_s
            )
            starting = (
                _start(msgspec.structs.replace(options, role=role, shard=shard))
                for role, shard in roles
            )
            processes = await asyncio.gather(*starting)
            try:
                intended = await _publish(connection, fills, fills_per_s)
                passed = await _drained(processes)
                accepted = await _accepted(connection)
            finally:
                for process in processes:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
    finally:
        for name in STREAMS:
            await delete_stream(connection, name)
        await connection.close()
    return _figures(intended, dict(zip(roles, passed, strict=True)), accepted)


async def _make_streams(connection: NatsConnection) -> None:
    for name, subject in STREAMS.items():
        await delete_stream(connection, name)
        await make_stream(connection, name, (subject,), bytes_max=1 << 30)


async def _start(options: Options) -> Process:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.skeleton", stdin=pipe, stdout=pipe, limit=64 << 20
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(msgspec.json.encode(options))
    process.stdin.write_eof()
    line = await process.stdout.readline()
    if line != b"ready\n":
        raise ClusterError(f"skeleton {options.role}: expected it ready, found {line!r}")
    return process


async def _publish(connection: NatsConnection, fills: int, per_s: float) -> list[int]:
    """Publish on schedule. Returns: the intended times, ns."""
    streams, tasks, intended = NatsStreams(connection), [], []
    began_ns = time.time_ns() + 20_000_000
    for fill in range(fills):
        intended.append(began_ns + int(fill * 1e9 / per_s))
        await asyncio.sleep(max(0.0, (intended[-1] - time.time_ns()) / 1e9))
        data = encode([Part(SIGNALS, (fill,))], FILL_BYTES)
        tasks.append(
            asyncio.create_task(streams.publish("skeleton.fills", data, message_id=str(fill)))
        )
    await asyncio.gather(*tasks)
    return intended


async def _drained(processes: list[Process]) -> list[dict[str, int]]:
    try:
        return await asyncio.wait_for(asyncio.gather(*map(_result, processes)), DRAIN_S_MAX)
    except TimeoutError:
        raise ClusterError(
            f"skeleton: expected every fill through within {DRAIN_S_MAX:g} s, found some under way"
        ) from None


async def _result(process: Process) -> dict[str, int]:
    assert process.stdout is not None
    output = await process.stdout.read()
    if await process.wait():
        raise ClusterError(
            f"skeleton: expected when fills passed, found exit code {process.returncode}"
        )
    return msgspec.json.decode(output, type=dict[str, int])


async def _accepted(connection: NatsConnection) -> dict[int, int]:
    """Return the time at which each fill's last execution message was written, ns. The engine's
    orders count as accepted by the same time (`benchmarks.harness.hops`).
    """
    accepted: dict[int, int] = {}
    async for stored in read_stream(connection, "SKELETON_EXECUTIONS", after_sequence=0):
        for part in decode(stored.data):
            accepted.update(dict.fromkeys(part.fills, stored.time_ns))
    return accepted


def _figures(
    intended: list[int], passed: dict[tuple[str, int], dict[str, int]], accepted: dict[int, int]
) -> dict[str, Any]:
    synced = passed["broker", 0]
    shards = [times for (role, _), times in passed.items() if role == "follower"]
    # The first tenth warms the processes up.
    counted = range(len(intended) // 10, len(intended))
    return {
        "fills": len(counted),
        "to_signaled": percentiles(
            passed["creator", 0][str(fill)] - intended[fill] for fill in counted
        ),
        "to_synced": percentiles(synced[str(fill)] - intended[fill] for fill in counted),
        "to_accepted": percentiles(accepted[fill] - intended[fill] for fill in counted),
        "to_updated": percentiles(
            max(times[str(fill)] for times in shards) - intended[fill] for fill in counted
        ),
    }
