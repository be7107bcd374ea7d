"""`lockstep audit` on a stopped data directory and on one with running servers, and its output."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from actors.ports import journal_stream
from cluster.audit import audit_data, command
from cluster.config.file import read_secrets
from cluster.config.options import Config
from cluster.errors import UsageError
from cluster.running.data_directory import opened
from cluster.running.wiring import broker_directory, nats_options, stream_settings
from cluster.servers.servers import Servers, start_servers
from engine.journal.events.orders import ExecutionsApplied
from engine.journal.frame import ShardKey, ShardKind
from gateways.brokers.ledger.ledger import FILE_NAME
from gateways.nats.connection import connect_nats
from gateways.nats.streams import NatsStreams, ensure_stream
from gateways.postgres.snapshots import PostgresConnectionOptions, open_postgres_snapshots
from tests.audit.planting import Recording, without_row
from tests.gateways.contracts import save_whole

pytestmark = pytest.mark.real


@asynccontextmanager
async def servers_on(data: Path) -> AsyncIterator[Servers]:
    """Run the servers of a data directory as a supervisor does."""
    config = Config()
    with opened(data, config) as run_file:
        servers = await start_servers(data, config, read_secrets(), run_file)
        try:
            yield servers
        finally:
            await servers.stop()


async def store(recording: Recording, data: Path, servers: Servers) -> None:
    """Put a recording where a cluster would have put it."""
    connection = await connect_nats(nats_options(servers, "test"))
    for settings in stream_settings(Config()):
        await ensure_stream(connection, settings)
    streams = NatsStreams(connection)
    kept = [journal_stream(ShardKey(kind, 0)) for kind in ShardKind]
    for name in (*kept, "EXECUTIONS", "INGRESS"):
        for message in recording.server.stream(name).messages:
            sequence = await streams.publish(
                message.subject, message.data, message_id=f"{name}/{message.sequence}"
            )
            assert sequence == message.sequence
    await connection.close()
    snapshots = await open_postgres_snapshots(PostgresConnectionOptions(dsn=servers.postgres_url))
    for held in recording.server.snapshots.values():
        for snapshot in reversed(held):
            assert await save_whole(snapshots, snapshot)
    await snapshots.close()
    directory = broker_directory(data, "paper")
    directory.mkdir(parents=True)
    (directory / FILE_NAME).write_bytes(recording.ledger)


def test_a_data_directory_is_audited_while_its_servers_run_and_when_stopped(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"

    async def running() -> None:
        async with servers_on(data) as servers:
            await store(recording, data, servers)
            report = await audit_data(data)
            assert report.passed, "\n".join(report.lines())
            assert any("did not answer" in note for note in report.notes), "no actor runs here"

    asyncio.run(running())
    capsys.readouterr()
    assert command.run(data, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    promises = [*(f"P{number}" for number in range(1, 9)), "P11"]
    assert [line.split()[0] for line in lines[:9]] == promises
    assert lines[-1].startswith("audit passed")
    assert not (data / "run.json").exists(), "everything started for reading is stopped again"
    assert command.run(data, as_json=True) == 0
    report = msgspec.json.decode(capsys.readouterr().out)
    assert report["passed"] is True
    assert [check["promise"] for check in report["checks"]] == promises
    assert set(report["checks"][0]) == {
        "promise",
        "title",
        "passed",
        "faults",
        "offender",
        "counts",
    }
    assert report["checks"][5]["counts"]["snapshots"] >= 5


def test_a_fault_in_a_stopped_data_directory_ends_with_exit_code_1(
    recording: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("numbers", "subscriptions", "exec_types", "quantities", "prices", "fees")
    _, _, event = recording.change_event(
        ExecutionsApplied, lambda event: [without_row(event, 0, *rows)]
    )
    data = tmp_path / "data"

    async def stored() -> None:
        async with servers_on(data) as servers:
            await store(recording, data, servers)

    asyncio.run(stored())
    capsys.readouterr()
    assert command.run(data, as_json=False) == 1
    out = capsys.readouterr().out
    assert "P8 executions .......... FAIL" in out
    assert f"first: execution {event.prefix}{event.numbers[0]} of broker paper" in out


def test_a_directory_that_never_held_a_cluster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the data directory of a cluster"):
        command.run(tmp_path, as_json=False)
