"""A cluster under measurement: started as `lockstep up` starts one, used as other programs use it,
observed from outside.

The harness logs in as `operator` for commands and progress, as `auditor` for streams, and as the
paper broker's gateway program for fills.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actors.host.ray_actors import SPARE_AFTER_S
from actors.shard.progress import HostHeartbeat
from benchmarks.harness.fills import Plan, TimedFill, publish, publish_on_schedule
from benchmarks.harness.gathering import HopGatherer
from benchmarks.harness.heard import (
    Acknowledgements,
    ProgressLog,
    TimedProgress,
    current_hosts,
    wait_hosts,
)
from benchmarks.harness.hops import FillHops
from benchmarks.harness.population import Group, load
from benchmarks.harness.processes import Usage, expect_alive, needed, roles_of, spent, usage
from benchmarks.harness.progress import Reporter
from cluster.config.options import Config
from cluster.config.roles import AUDITOR, ENGINE, OPERATOR, User, broker_role
from cluster.errors import ClusterError
from cluster.processes.run_file import ProcessRecord
from cluster.replay.barrier import ProgressBarrier
from cluster.running.supervisor import Cluster, running_cluster
from cluster.running.wiring import broker_directory
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.heard import Heard

BROKER = "paper"
QUIET_S = 2.0
QUIET_SHARE = 0.25
"""Of one core, what an idle cluster uses with its heartbeats, progress and ticks, and room."""


class MeasuredRun(NamedTuple):
    """One measured stretch of fills. `heard` is the progress heard meanwhile; `processes` is
    what each role spent.
    """

    published: list[TimedFill]
    hops: FillHops
    heard: list[TimedProgress]
    seconds: float
    processes: dict[str, dict[str, float]]


class BenchSession:
    """A running cluster and the connections of the harness; made by `opened_session`."""

    def __init__(
        self,
        cluster: Cluster,
        operator: NatsConnection,
        auditor: NatsConnection,
        broker: NatsConnection,
        reporter: Reporter,
    ) -> None:
        config = cluster.config.cluster
        self.cluster = cluster
        self.operator = operator
        self.broker = broker
        self.reporter = reporter
        self.progress = ProgressLog()
        self.heard = Heard(self.progress.record)
        self.barrier = ProgressBarrier(
            self.heard,
            creator_shards=config.creator_shards,
            follower_shards=config.follower_shards,
            gateways=1,
        )
        self.gatherer = HopGatherer(auditor, broker_directory(cluster.data, BROKER))
        self._sequence = 0
        self._needed: list[ProcessRecord] = []
        self._ended: Usage = {}
        self._started_s = time.monotonic()

    async def start(self) -> None:
        """Listen to progress and heartbeats, until every host was heard."""
        await self.heard.listen(self.operator)
        await wait_hosts(self.heard, len(self.cluster.keeper.hosts))
        self._needed = needed(self.cluster.data, current_hosts(self.heard))

    async def load(self, groups: list[Group], *, seed: int) -> dict[str, Any]:
        """Load a population and wait until all is quiet. Returns: counts, seconds, rate."""
        loaded = await load(self.operator, groups, seed=seed, reporter=self.reporter)
        await self.settled()
        return loaded

    async def settled(self) -> None:
        """Wait until everything published is applied, no order is open, and no gateway holds
        anything.
        """
        await self.barrier.wait_drained(self._sequence)

    async def one_by_one(self, plans: Iterator[Plan], count: int) -> MeasuredRun:
        """Publish fills, each after the one before it is applied everywhere."""

        async def publish_all() -> list[TimedFill]:
            published = []
            for _ in range(count):
                published.append(await publish(self.broker, next(plans)))
                self._sequence = published[-1].sequence
                await self.settled()
            return published

        return await self._run(publish_all())

    async def on_schedule(
        self, plans: Iterator[Plan], *, per_s: float, seconds: float
    ) -> MeasuredRun:
        """Publish fills in open loop, then wait until all are applied."""
        return await self._run(
            publish_on_schedule(self.broker, plans, per_s=per_s, seconds=seconds)
        )

    async def _run(self, publishing: Any) -> MeasuredRun:
        window = await self.gatherer.window()
        self.progress.clear()
        self._ended.clear()
        before, began = self.usage(), time.monotonic()
        published: list[TimedFill] = await publishing
        self._sequence = max((fill.sequence for fill in published), default=self._sequence)
        await self.settled()
        seconds, after = time.monotonic() - began, {**self._ended, **self.usage()}
        self.expect_whole()
        # Whatever is still to be told of the last frames comes with the next heartbeat.
        await asyncio.sleep(0.3)
        heard = self.progress.heard()
        hops = await self.gatherer.hops(published, window, Acknowledgements(heard))
        if published and not hops.passed("updated").any():
            raise ClusterError(
                f"{len(published)} fills: expected orders and their executions, found none"
            )
        return MeasuredRun(published, hops, heard, seconds, spent(before, after))

    async def quiet(self, seconds_max: float) -> None:
        """Wait until the cluster's start is over and its processes rest. Spare hosts start later
        than the others and use seconds of CPU that no figure should contain.
        """
        until_s = time.monotonic() + seconds_max
        await asyncio.sleep(
            max(0.0, min(self._started_s + SPARE_AFTER_S + QUIET_S, until_s) - time.monotonic())
        )
        while time.monotonic() < until_s:
            before = self.usage()
            await asyncio.sleep(QUIET_S)
            spent_s = sum(role["cpu_s"] for role in spent(before, self.usage()).values())
            if spent_s < QUIET_SHARE * QUIET_S:
                return

    def usage(self) -> Usage:
        """Read what every process has used so far."""
        return usage(roles_of(self.cluster.data, current_hosts(self.heard)))

    def host_of(self, kind: str, shard: int) -> HostHeartbeat:
        """Return the host that runs a shard now."""
        return next(
            host
            for host in current_hosts(self.heard).values()
            if host.kind == kind and str(shard) in host.shards
        )

    def expect_whole(self) -> None:
        """Refuse figures of a disturbed cluster. Raises: ClusterError."""
        expect_alive(self._needed)

    def kill_host(self, kind: str, shard: int) -> int:
        """Kill the process that hosts a shard, as part of a benchmark. What it used so far
        counts. Returns: the time, ns.
        """
        pid = self.host_of(kind, shard).pid
        self._needed = [record for record in self._needed if record.pid != pid]
        self._ended |= {
            pid: used._replace(resident_bytes=0) for pid, used in usage({pid: kind}).items()
        }
        killed_ns = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        return killed_ns

    def user(self, role: str) -> User:
        """Return the login of a role."""
        return self.cluster.credentials.users[role]

    async def connect(self, role: str) -> NatsConnection:
        """Connect as a role. The caller closes the connection."""
        return await _connect(self.cluster, role)

    @property
    def engine_role(self) -> str:
        """The role that may make streams."""
        return ENGINE


async def audited(data: Path) -> dict[str, Any]:
    """Audit a data directory with `lockstep audit` in its own process. Returns: its report, with
    `passed` and each check.
    """
    program = "from cluster.command_line.entry import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        "audit",
        "--json",
        "--data",
        str(data),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            # Stopped meanwhile: told so, it stops what it started itself.
            process.terminate()
            await process.wait()
    try:
        report: dict[str, Any] = msgspec.json.decode(output)
    except msgspec.DecodeError:
        why = (
            "; killed, as happens when memory runs out"
            if process.returncode == -signal.SIGKILL
            else ""
        )
        return {
            "passed": False,
            "error": f"lockstep audit ended with {process.returncode} and no report{why}",
        }
    return {**report, "passed": report.get("passed") is True and process.returncode == 0}


async def _connect(cluster: Cluster, role: str) -> NatsConnection:
    user = cluster.credentials.users[role]
    return await connect_nats(user.connection(cluster.nats_url, f"bench-{role}"))


@asynccontextmanager
async def opened_session(
    data: Path, config: Config, reporter: Reporter
) -> AsyncIterator[BenchSession]:
    """Start a cluster for measuring and stop it afterwards."""
    reporter.say(f"starting a cluster in {data}")
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(data, config))
        operator = await _connect(cluster, OPERATOR)
        stack.push_async_callback(operator.close)
        auditor = await _connect(cluster, AUDITOR)
        stack.push_async_callback(auditor.close)
        broker = await _connect(cluster, broker_role(BROKER))
        stack.push_async_callback(broker.close)
        session = BenchSession(cluster, operator, auditor, broker, reporter)
        await session.start()
        await session.settled()
        yield session
        session.expect_whole()
