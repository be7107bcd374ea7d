"""Checks after any kill: everything drains, the audit passes, each acknowledged message is there
once, and commands get their answers again.
"""

from collections import Counter
from pathlib import Path

from actors.history_reader import FrameReader
from cluster.config.credentials import read_credentials
from cluster.config.roles import ENGINE
from engine.journal.events.creator import CreatorsOpened, FillApplied
from engine.journal.frame import ShardKey, ShardKind
from gateways.nats.connection import connect_nats
from gateways.nats.journal import NatsJournal
from tests.faults.kill.running import RunningCluster
from tests.load import Load

CREATOR_SHARDS = 2


async def check(cluster: RunningCluster, load: Load) -> str:
    """Drain a load that was stopped and check everything. Returns: the audit's last line. Raises:
    AssertionError, TimeoutError.
    """
    await load.drain()
    assert await load.ask_again() == [], "expected every accepted command to be accepted again"
    found = await applied_fills(cluster.data)
    repeated = [fill for fill, count in found.items() if count > 1]
    assert repeated == [], "expected every fill applied once"
    lost = sorted(set(load.fills) - set(found))
    assert lost == [], (
        f"expected every acknowledged fill applied, found {len(lost)} of {len(load.fills)} lost"
    )
    await load.drain()
    audit = cluster.command("audit")
    assert audit.returncode == 0, f"the audit failed:\n{audit.stdout}\n{audit.stderr}"
    return audit.stdout.strip().splitlines()[-1]


async def applied_fills(data: Path) -> Counter[str]:
    """Count the fills that the creator journals hold, as `<creator_id>/<exec_id>`."""
    credentials = read_credentials(data)
    user = credentials.users[ENGINE]
    connection = await connect_nats(user.connection(credentials.nats_url, "checks"))
    found: Counter[str] = Counter()
    try:
        for shard in range(CREATOR_SHARDS):
            names: dict[int, str] = {}
            async for frame in FrameReader(
                NatsJournal(connection), ShardKey(ShardKind.CREATOR, shard)
            ).frames():
                for event in frame.events:
                    if isinstance(event, CreatorsOpened):
                        names.update(zip(event.numbers.tolist(), event.ids, strict=True))
                    elif isinstance(event, FillApplied):
                        found[f"{names[event.creator]}/{event.exec_id}"] += 1
    finally:
        await connection.close()
    return found
