"""Finding a part's process and doing something bad to it."""

import os
import signal
import time

from actors.shard.progress import HostHeartbeat
from cluster.processes.run_file import ProcessRecord, RunRecord, start_mark
from gateways.nats.heard import Heard

HOSTS = ("creator", "follower", "gateway")
SERVERS = ("broker-paper", "nats", "postgres")
RAY = ("raylet", "gcs_server")
PARTS = (*HOSTS, *SERVERS, *RAY)
LIVE_S_MAX = 1.0


class Victim:
    """One process of a part, named for good by its id and start mark."""

    def __init__(self, part: str, pid: int, name: str = "") -> None:
        self.part = part
        self.pid = pid
        self.name = name or part
        self._started = start_mark(pid)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal. Returns: False when the process is gone."""
        if not self.is_alive():
            return False
        os.kill(self.pid, number)
        return True

    def is_alive(self) -> bool:
        """Return whether this very process still runs, or is stopped."""
        return self._started is not None and start_mark(self.pid) == self._started

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


def victims(part: str, run: RunRecord, heard: Heard) -> list[Victim]:
    """Find the processes of a part that run now, in the order of their names."""
    if part in HOSTS:
        return [Victim(part, host.pid, host.incarnation) for host in _live_hosts(part, heard)]
    records = sorted(
        (record for record in run.processes if _is_of(record, part)), key=lambda record: record.pid
    )
    return [Victim(part, record.pid, record.name) for record in records if record.is_alive()]


def _live_hosts(kind: str, heard: Heard) -> list[HostHeartbeat]:
    now_s = time.monotonic()
    hosts = [host for host in heard.hosts.values() if host.kind == kind]
    return sorted(
        (host for host in hosts if now_s - heard.heard_s[host.incarnation] < LIVE_S_MAX),
        key=lambda host: host.incarnation,
    )


def _is_of(record: ProcessRecord, part: str) -> bool:
    return record.name == part if part in SERVERS else record.name.rpartition("-")[0] == part


def is_replaced(victim: Victim, run: RunRecord, heard: Heard) -> bool:
    """Return whether another process has taken a victim's place."""
    if victim.part in HOSTS:
        slot = victim.name.rsplit("-", 2)[0]
        return any(
            host.incarnation != victim.name
            and host.incarnation.rsplit("-", 2)[0] == slot
            and set(host.shards.values()) == {"live"}
            for host in _live_hosts(victim.part, heard)
        )
    return any(other.pid != victim.pid for other in victims(victim.part, run, heard))
