"""Junk on a running cluster, under the login of one of its two brokers. Whatever it sends:

- no shard gets another owner, and no host ends;
- every message is taken: nothing lags behind;
- the other broker's load drains, and each of its fills is applied once;
- the audit finds nothing but executions that the junk broker's ledger does not have.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from cluster.config.roles import OPERATOR, broker_role
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams
from tests.cluster.running.asking import connected
from tests.faults.fuzz.making import Maker
from tests.faults.kill.checks import applied_fills
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.waiting import FILLS_AFTER, FILLS_BEFORE, SETTINGS, until_fills
from tests.load import Load

CONFIG = Path(__file__).with_name("two_brokers.toml")
JUNK = "other"
SUBJECTS = (
    *[f"executions.{JUNK}.0"] * 4,
    *[f"executions.{JUNK}.1"] * 2,
    f"fills.{JUNK}.zoe",
    f"marks.{JUNK}",
)
ALARMS = frozenset({"shard_failed", "shard_crashed", "not_alone", "disk_full"})
"""None of these may be raised."""
DAY_S = 86_400


class Fuzzed(NamedTuple):
    """What the cluster said afterwards."""

    messages: int
    counts: dict[str, int]
    """Of all shards: how many executions and inputs were refused, and so on."""
    faults: dict[str, int]
    """The audit's faults by promise."""


async def fuzzed(cluster: RunningCluster, seed: int, messages: int, seconds: float) -> Fuzzed:
    """Send so many junk messages, for so long at most, and check all of the rules above. Raises:
    AssertionError, TimeoutError.
    """
    async with Load(cluster.data, name=f"fuzz{seed}", seed=seed, settings=SETTINGS) as load:
        await load.open_all()
        await _open_zoe(cluster.data)
        before = owners(status(cluster))
        load.start()
        await until_fills(load, FILLS_BEFORE)
        sent = await _send(cluster.data, seed, messages, seconds)
        await until_fills(load, FILLS_AFTER)
        await load.stop()
        await load.drain()
        assert await load.ask_again() == []
        found = await applied_fills(cluster.data)
        assert [fill for fill in load.fills if found[fill] != 1] == []
        after = status(cluster)
        assert owners(after) == before, "expected no shard to get another owner"
        raised = {alarm["name"] for actor in after["actors"] for alarm in actor["alarms"]}
        assert not raised & ALARMS, raised
        await load.drain()
    return Fuzzed(sent, _counts(after), _faults(cluster))


async def _open_zoe(data: Path) -> None:
    """Let an account of the junk broker follow a creator of it."""
    operator = await connected(data, OPERATOR)
    try:
        await _command(operator, "creator.zoe", type="open_creator", cash="1000000", broker=JUNK)
        await _command(operator, "account.zoe-follower", type="open_account", broker=JUNK)
        await _command(
            operator, "account.zoe-follower", type="follow", creator_id="zoe", cash="10000"
        )
    finally:
        await operator.close()


async def _command(operator: NatsConnection, subject: str, **body: str) -> None:
    command_id = f"{body['type']}-{subject.replace('.', '-')}"
    data = json.dumps({"command_id": command_id, **body}).encode()
    answer = json.loads((await operator.request(f"commands.{subject}", data)).data)
    assert answer["ok"] or answer["reason"] == "exists", answer


async def _send(data: Path, seed: int, messages: int, seconds: float) -> int:
    """Publish junk, each message once the one before is on disk. Returns: how many."""
    maker, broker = Maker(seed), await connected(data, broker_role(JUNK))
    until_s, sent = time.monotonic() + min(seconds, DAY_S), 0
    try:
        streams = NatsStreams(broker)
        while sent < messages and time.monotonic() < until_s:
            await streams.publish(maker.random.choice(SUBJECTS), maker.message())
            sent += 1
    finally:
        await broker.close()
    return sent


def status(cluster: RunningCluster) -> dict[str, Any]:
    """Return the cluster's status."""
    found: dict[str, Any] = json.loads(cluster.command("status", "--json").stdout)
    return found


def owners(found: dict[str, Any]) -> set[tuple[str, int, int, int]]:
    """Return the kind, number, epoch and process of every shard."""
    return {
        (actor["kind"], shard["shard"], shard["epoch"], actor["pid"])
        for actor in found["actors"]
        for shard in actor["shards"]
    }


def _counts(found: dict[str, Any]) -> dict[str, int]:
    names = (
        "executions_refused",
        "executions_repeated",
        "inputs_refused",
        "executions_implausible",
    )
    shards = [shard for actor in found["actors"] for shard in actor["shards"]]
    return {name: sum(shard["counts"].get(name, 0) for shard in shards) for name in names}


def _faults(cluster: RunningCluster) -> dict[str, int]:
    """Return the audit's faults. A broker that lies has told of executions that its ledger lacks;
    of no other broker is there any fault.
    """
    audited = cluster.command("audit", "--json")
    report = json.loads(audited.stdout)
    broken = {each["promise"]: each for each in report["checks"] if each["faults"]}
    assert broken.keys() <= {"P8"}, audited.stdout
    for check in broken.values():
        assert f"broker {JUNK}" in check["offender"], check["offender"]
    return {promise: check["faults"] for promise, check in broken.items()}
