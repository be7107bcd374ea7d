"""The embedded servers as they really are: credentials, recovery after kill -9, and what a killed
supervisor leaves behind.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from cluster.config.credentials import (
    Credentials,
    ensure_credentials,
    read_credentials,
)
from cluster.config.file import read_secrets
from cluster.config.options import Config, SupervisionOptions
from cluster.config.roles import (
    AUDITOR,
    ENGINE,
    ENGINE_ACCOUNT,
    OPERATOR,
    User,
    broker_role,
)
from cluster.errors import ServerError
from cluster.processes.kept_program import ChildProgram
from cluster.processes.leftovers import processes_of
from cluster.processes.run_file import RunFile, read_run
from cluster.running.data_directory import opened
from cluster.servers.nats_server import start_nats
from cluster.servers.postgres_server import (
    embedded_postgres_url,
    start_postgres,
    superuser_url,
)
from cluster.servers.servers import start_servers
from tests.cluster.servers.listening import listening_addresses
from tests.servers import until

pytestmark = pytest.mark.real

CONFIG = Config(supervision=SupervisionOptions(restart_ms_min=1, stop_s_max=5))
WAIT_S = 20.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def run_file(data: Path) -> RunFile:
    return RunFile(data)


@pytest.fixture
def credentials(data: Path) -> Credentials:
    return ensure_credentials(data, ["paper", "other"])


@pytest.fixture
async def nats_server(
    data: Path, credentials: Credentials, run_file: RunFile
) -> AsyncIterator[ChildProgram]:
    child = await start_nats(data, CONFIG, credentials, run_file)
    yield child
    await child.stop()


@asynccontextmanager
async def connected(run_file: RunFile, user: User, **options: object) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(
        run_file.run.addresses["nats"],
        user=user.user,
        password=user.password,
        inbox_prefix=user.inbox_prefix,
        reconnect_time_wait=0,
        max_reconnect_attempts=-1,
        **options,  # type: ignore[arg-type]
    )
    try:
        yield client
    finally:
        await client.close()


async def settle(client: Client) -> None:
    """Wait until the server has taken all messages. The first flush's ping overtakes what the
    client buffers; the second's does not.
    """
    await client.flush()
    await client.flush()


async def make_stream(engine: Client, name: str, *subjects: str) -> None:
    await engine.jetstream().add_stream(
        StreamConfig(
            name=name,
            subjects=list(subjects),
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            allow_direct=True,
        )
    )


@pytest.fixture
async def clients() -> AsyncIterator[AsyncExitStack]:
    """Close every client entered here when the test ends, however it ends."""
    async with AsyncExitStack() as stack:
        yield stack


async def silent(_: Exception) -> None:
    """Ignore the errors of a refused client."""


async def test_client_without_or_with_wrong_credentials_is_refused(
    nats_server: ChildProgram, credentials: Credentials, run_file: RunFile
) -> None:
    url = run_file.run.addresses["nats"]
    for user, password in ((None, None), ("engine", credentials.users[OPERATOR].password)):
        client = Client()
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await client.connect(
                url, user=user, password=password, allow_reconnect=False, error_cb=silent
            )
        assert not client.is_connected
        # The client leaves its socket open when it is refused.
        if client._transport is not None:
            client._transport.close()  # type: ignore[no-untyped-call]


async def test_broker_may_do_its_own_work_and_nothing_else(
    nats_server: ChildProgram, credentials: Credentials, run_file: RunFile, clients: AsyncExitStack
) -> None:
    engine = await clients.enter_async_context(connected(run_file, credentials.users["engine"]))
    refusals: list[str] = []

    async def note(error: Exception) -> None:
        refusals.append(str(error).lower())

    paper = await clients.enter_async_context(
        connected(run_file, credentials.users[broker_role("paper")], error_cb=note)
    )
    await make_stream(engine, "INGRESS", "fills.>", "marks.>")
    await make_stream(engine, "EXECUTIONS", "executions.>")
    allowed = ("fills.paper.alice", "marks.paper", "executions.paper.0")
    for subject in allowed:
        assert (await paper.jetstream().publish(subject, b"x")).seq >= 1

    async def answer(message: object) -> None:
        await message.respond(b"taken")  # type: ignore[attr-defined]

    await paper.subscribe("broker.paper.orders", cb=answer)
    await settle(paper)
    assert (await engine.request("broker.paper.orders", b"block", timeout=5)).data == b"taken"
    assert refusals == []

    forbidden = (
        "fills.other.alice",
        "marks.other",
        "executions.other.0",
        "journal.follower.0",
        "commands.bulk",
        "heads.creator.0",
        "broker.paper.orders",
        "_INBOX_engine.x",
        "$JS.API.STREAM.DELETE.INGRESS",
    )
    for subject in forbidden:
        await paper.publish(subject, b"x")
    for subject in (
        ">",
        "journal.>",
        "_INBOX_engine.>",
        "broker.other.orders",
        "heads.>",
        "fills.>",
    ):
        await paper.subscribe(subject)
    await settle(paper)
    await until(lambda: len(refusals) >= len(forbidden) + 6)
    for subject in forbidden:
        assert any(f'publish to "{subject}"'.lower() in refusal for refusal in refusals), subject
    assert (await engine.jetstream().stream_info("INGRESS")).state.messages == 2


async def test_operator_commands_and_auditor_reads(
    nats_server: ChildProgram, credentials: Credentials, run_file: RunFile, clients: AsyncExitStack
) -> None:
    engine, operator, auditor = [
        await clients.enter_async_context(
            connected(run_file, credentials.users[role], error_cb=silent)
        )
        for role in (ENGINE, OPERATOR, AUDITOR)
    ]
    await make_stream(engine, "JOURNAL_FOLLOWER", "journal.follower.*")
    await engine.jetstream().publish("journal.follower.0", b"frame")

    async def answer(message: object) -> None:
        await message.respond(b"ok")  # type: ignore[attr-defined]

    for subject in ("commands.account.a", "shards.follower.0.inspect"):
        await engine.subscribe(subject, cb=answer)
    await settle(engine)
    assert (await operator.request("commands.account.a", b"{}", timeout=5)).data == b"ok"
    assert (await auditor.request("shards.follower.0.inspect", b"{}", timeout=5)).data == b"ok"
    js = auditor.jetstream()
    assert (await js.stream_info("JOURNAL_FOLLOWER")).state.messages == 1
    direct = await js.get_msg("JOURNAL_FOLLOWER", subject="journal.follower.0", direct=True)
    assert direct.data == b"frame"
    heads = await auditor.subscribe("heads.>")
    await settle(auditor)
    await engine.publish("heads.creator.0", b"1")
    assert (await heads.next_msg(timeout=5)).data == b"1"


async def test_a_directory_of_one_shared_account_keeps_its_streams(
    data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    first = await start_nats(data, CONFIG, credentials, run_file)
    async with connected(run_file, credentials.users[ENGINE]) as engine:
        await make_stream(engine, "INGRESS", "fills.>")
        await engine.jetstream().publish("fills.paper.a", b"kept")
    await first.stop()
    store = data / "nats" / "store" / "jetstream"
    (store / ENGINE_ACCOUNT).rename(store / "$G")
    second = await start_nats(data, CONFIG, credentials, run_file)
    try:
        async with connected(run_file, credentials.users[ENGINE]) as engine:
            assert (await engine.jetstream().get_msg("INGRESS", seq=1)).data == b"kept"
    finally:
        await second.stop()


async def test_killed_nats_is_back_on_its_port_with_what_it_acknowledged(
    nats_server: ChildProgram, credentials: Credentials, run_file: RunFile, clients: AsyncExitStack
) -> None:
    engine = await clients.enter_async_context(connected(run_file, credentials.users["engine"]))
    await make_stream(engine, "INGRESS", "fills.>")
    await engine.jetstream().publish("fills.paper.a", b"kept")
    killed = nats_server.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    await until(lambda: nats_server.restarts_count == 1)
    await asyncio.wait_for(nats_server.wait_ready(), WAIT_S)
    await until(lambda: engine.is_connected and nats_server.pid not in (None, killed))
    assert (await engine.jetstream().get_msg("INGRESS", seq=1)).data == b"kept"
    assert [record.pid for record in run_file.run.processes] == [nats_server.pid]


async def test_killed_postgres_is_back_on_its_port_with_what_it_committed(
    data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    child = await start_postgres(data, CONFIG, credentials, run_file)
    try:
        address = run_file.run.addresses["postgres"]
        url = embedded_postgres_url(address, credentials)
        connection = await asyncpg.connect(url)
        await connection.execute("create table kept (n int)")
        await connection.execute("insert into kept values (7)")
        killed = child.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: child.restarts_count == 1)
        await asyncio.wait_for(child.wait_ready(), WAIT_S)
        connection.terminate()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("select n from kept") == 7
        await connection.close()
        wrong = msgspec.structs.replace(credentials, postgres_engine_password="wrong")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(embedded_postgres_url(address, wrong))
    finally:
        await child.stop()
    assert processes_of(run_file.run) == []


async def test_postgres_whose_password_was_lost_is_reported_with_what_to_do(
    data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    await (await start_postgres(data, CONFIG, credentials, run_file)).stop()
    # A directory of an earlier version doesn't know the password that it was made with.
    (data / "postgres" / "created").write_text("")
    (data / "credentials.json").unlink()
    with pytest.raises(
        ServerError,
        match=r"expected it to take the password in "
        r".*credentials.json, found .*; restore that file",
    ):
        await start_postgres(data, CONFIG, ensure_credentials(data, ["paper"]), run_file)
    assert processes_of(run_file.run) == []


@asynccontextmanager
async def postgres(
    data: Path, credentials: Credentials, run_file: RunFile
) -> AsyncIterator[tuple[str, str]]:
    """Run Postgres. Yields: the URLs of the engine and of the superuser."""
    child = await start_postgres(data, CONFIG, credentials, run_file)
    try:
        address = run_file.run.addresses["postgres"]
        yield embedded_postgres_url(address, credentials), superuser_url(address, credentials)
    finally:
        await child.stop()


async def executed(url: str, *statements: str) -> object:
    """Run statements. Returns: the first value of the last one."""
    connection = await asyncpg.connect(url)
    try:
        return [await connection.fetchval(statement) for statement in statements][-1]
    finally:
        await connection.close()


@pytest.mark.parametrize("damage", ["emptied", "removed"])
async def test_credentials_that_were_lost_are_made_again_and_postgres_keeps_its_data(
    data: Path, credentials: Credentials, run_file: RunFile, damage: str
) -> None:
    async with postgres(data, credentials, run_file) as (engine, _):
        await executed(engine, "create table kept (n int)", "insert into kept values (7)")
    if damage == "emptied":
        (data / "credentials.json").write_text("")
    else:
        (data / "credentials.json").unlink()
    remade = ensure_credentials(data, ["paper"])
    assert remade.postgres_password != credentials.postgres_password
    async with postgres(data, remade, run_file) as (engine, _):
        assert await executed(engine, "select n from kept") == 7
    assert processes_of(run_file.run) == []


async def test_the_engine_s_role_owns_its_tables_and_has_no_other_right(
    data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    async with postgres(data, credentials, run_file) as (engine, _):
        rights = "rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls"
        asked = f"select {rights} from pg_roles where rolname = current_user"
        assert await executed(engine, asked) is False
        for refused in (
            "create role other",
            "create database other",
            "alter role lockstep password 'mine'",
            "copy (select 1) to program 'cat'",
            "select pg_read_file('postgresql.conf')",
            "alter system set fsync = off",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await executed(engine, refused)


async def test_tables_of_a_directory_from_before_become_the_engine_s(
    data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    async with postgres(data, credentials, run_file) as (_, superuser):
        await executed(superuser, "create table old (n int)", "insert into old values (3)")
    async with postgres(data, credentials, run_file) as (engine, _):
        await executed(engine, "alter table old add column m int", "update old set m = n")
        assert await executed(engine, "select m from old") == 3


async def test_no_other_process_reaches_the_files_of_postgres(
    credentials: Credentials,
) -> None:
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        with opened(Path(base) / "data", CONFIG) as run_file:
            data = Path(base) / "data"
            async with postgres(data, credentials, run_file) as (engine, _):
                assert await executed(engine, "select 1") == 1
                files = data / "postgres" / "data"
                assert files.stat().st_mode & 0o077 == 0
                if os.geteuid() == 0:
                    # Postgres runs as the user nobody then, as other programs of the machine may.
                    lister = await asyncio.create_subprocess_exec(
                        "/bin/ls", str(files), user="nobody", stderr=asyncio.subprocess.PIPE
                    )
                    assert b"Permission denied" in (await lister.communicate())[1]


async def test_servers_listen_on_loopback_only(
    nats_server: ChildProgram, data: Path, credentials: Credentials, run_file: RunFile
) -> None:
    postgres = await start_postgres(data, CONFIG, credentials, run_file)
    try:
        assert listening_addresses(processes_of(run_file.run)) == {"127.0.0.1"}
    finally:
        await postgres.stop()


async def test_stopped_server_leaves_no_process(
    nats_server: ChildProgram, run_file: RunFile
) -> None:
    await nats_server.stop()
    assert nats_server.pid is None
    assert processes_of(run_file.run) == []


async def test_servers_of_a_directory_come_back_on_their_ports_with_the_same_logins(
    data: Path,
) -> None:
    urls = []
    for _ in range(2):
        with opened(data, CONFIG) as run_file:
            servers = await start_servers(data, CONFIG, read_secrets({}), run_file)
            try:
                stored = read_credentials(data)
                assert (stored.nats_url, stored.postgres_url) == (
                    servers.nats_url,
                    servers.postgres_url,
                )
                async with connected(run_file, servers.engine) as engine:
                    assert engine.is_connected
                await (await asyncpg.connect(servers.postgres_url)).close()
                urls.append((servers.nats_url, servers.postgres_url))
            finally:
                await servers.stop()
        assert processes_of(run_file.run) == []
        assert read_run(data) is None
    assert urls[0] == urls[1]


async def test_when_one_server_cannot_start_neither_is_left(data: Path) -> None:
    (data / "nats").write_text("in the way")
    run_file = RunFile(data)
    with pytest.raises(OSError, match="exists"):
        await start_servers(data, CONFIG, read_secrets({}), run_file)
    assert processes_of(run_file.run) == []
