"""The work of `lockstep replay` after its input is checked: run the session, write the results,
print the table.
"""

import sys
import time
from pathlib import Path

from cluster.audit import AuditReport, audit_data
from cluster.config.options import Config
from cluster.history import opened_store
from cluster.replay.broker_csv import write_broker
from cluster.replay.decisions_csv import write_dispositions, write_orders
from cluster.replay.holdings_csv import write_positions, write_subscriptions
from cluster.replay.inputs import Inputs
from cluster.replay.outcome import Outcome, read_outcome
from cluster.replay.session import connected, log_to, open_parties, prepare, publish, replay_config
from cluster.replay.summary import counts_of, lines_of
from cluster.running.stopping import run_until_stopped
from cluster.running.supervisor import running_cluster

_NAME_WIDTH = 16


def replay(inputs: Inputs, out: Path, config: Config) -> int:
    """Replay checked input into OUT. Returns: the exit code. Raises: UsageError, ClusterError,
    OperatingError.
    """
    config = replay_config(config, inputs.instruments)
    data = prepare(out)
    log_to(data / "logs" / "replay.log")
    return run_until_stopped(_replay(inputs, out, data, config), stopped=_stopped)


def _stopped() -> int:
    print("lockstep: the replay was stopped; its cluster is down", file=sys.stderr, flush=True)
    return 1


async def _replay(inputs: Inputs, out: Path, data: Path, config: Config) -> int:
    began_s = time.monotonic()

    def tell(text: str) -> None:
        print(f"lockstep: {time.monotonic() - began_s:5.1f} s  {text}", flush=True)

    tell(f"starting a cluster in {data}")
    async with running_cluster(data, config) as cluster, connected(cluster) as session:
        tell(f"opening {len(inputs.creators)} creators and {len(inputs.followers)} subscriptions")
        await open_parties(session, inputs)
        tell(f"publishing {len(inputs.fills)} fills and {len(inputs.prices)} prices")
        published = await publish(session, inputs)
        tell("drained; auditing")
        report = await audit_data(data)
        tell(f"writing the results to {out}")
        async with opened_store(data) as store:
            outcome = await read_outcome(store, inputs, published)
        _write(out, outcome, report)
        tell("stopping the cluster")
    return 0 if report.passed else 1


def _write(out: Path, outcome: Outcome, report: AuditReport) -> None:
    write_orders(out / "orders.csv", outcome)
    write_dispositions(out / "dispositions.csv", outcome)
    write_positions(out / "positions.csv", outcome)
    write_subscriptions(out / "subscriptions.csv", outcome)
    broker = write_broker(out / "broker.csv", outcome)
    print()
    for name, text in lines_of(outcome, counts_of(outcome), broker, report):
        print(f"  {name:<{_NAME_WIDTH}}{text}")
    print(flush=True)
