"""Logins of the embedded servers.

DIR/credentials.json (mode 0600) is made once per data directory. It tells other programs where the
servers are and how to log in. NATS refuses a client without credentials. `cluster.config.roles`
says what each role may do.
"""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from cluster.config.roles import User, accounts, broker_of, roles_of
from cluster.errors import ClusterError, UsageError
from cluster.private_file import write_private

_log = structlog.get_logger()


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The content of DIR/credentials.json. Users are by role. URLs are empty until the servers
    run.
    """

    users: dict[str, User]
    retiring: dict[str, User] = {}
    """Old logins that are still valid, of roles whose login is being changed."""
    postgres_password: str
    """The superuser's of the embedded Postgres; only the supervisor uses it."""
    postgres_engine_password: str = ""
    nats_url: str = ""
    postgres_url: str = ""
    ray_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(users={sorted(self.users)})"


def credentials_path(data: Path) -> Path:
    """Return the path of a data directory's credentials."""
    return data / "credentials.json"


def ensure_credentials(data: Path, brokers: Iterable[str]) -> Credentials:
    """Read the credentials, add users that are missing, and drop those of roles that there are no
    more. A damaged file is made again: brokers and operators then need their new logins.
    """
    path = credentials_path(data)
    found = _stored(path) or Credentials(users={}, postgres_password=_secret(), ray_token=_secret())
    known = {
        role: user
        for role, user in found.users.items()
        if role in roles_of(()) or broker_of(role) is not None
    }
    # The directory may have used an external server without a login; the embedded one needs one.
    missing = {
        role: _new_user(role)
        for role in roles_of(brokers)
        if role not in known or not known[role].user
    }
    complete = msgspec.structs.replace(
        found,
        users={**known, **missing},
        postgres_engine_password=found.postgres_engine_password or _secret(),
    )
    if complete == found and path.exists():
        return found
    return write_credentials(data, complete)


def _stored(path: Path) -> Credentials | None:
    """Read the credentials; None when there are none yet, or they are damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        _log.warning("credentials_made_again", path=str(path), error=str(error), alarm=True)
        return None


def read_credentials(data: Path) -> Credentials:
    """Read DIR/credentials.json. Raises: ClusterError when it is absent or unreadable."""
    path = credentials_path(data)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (OSError, msgspec.DecodeError) as error:
        raise ClusterError(
            f"{path}: expected the credentials of a cluster, found {error}; give the "
            "data directory of a cluster that was started"
        ) from None


def write_credentials(data: Path, credentials: Credentials) -> Credentials:
    """Store the credentials so that only their owner can read them."""
    stored = msgspec.json.format(msgspec.json.encode(credentials)) + b"\n"
    write_private(credentials_path(data), stored)
    return credentials


def nats_accounts(credentials: Credentials) -> str:
    """Render the accounts, users and permissions for a nats-server's configuration file."""
    logins = {
        role: (user, *filter(None, [credentials.retiring.get(role)]))
        for role, user in credentials.users.items()
    }
    return f"accounts: {json.dumps(accounts(logins), indent=2)}\n"


def with_new_login(credentials: Credentials, role: str) -> Credentials:
    """Give a role a new login; its old one stays valid. Raises: UsageError when there is no such
    role, or an older login of it is still valid.
    """
    old = _login_of(credentials, role)
    if role in credentials.retiring:
        raise UsageError(
            f"{role}: expected one login, found {credentials.retiring[role].user} still valid; "
            f"end it with `lockstep rotate {role} --finish`"
        )
    number = int(old.user.removeprefix(role).removeprefix(".") or 1) + 1
    new = User(user=f"{role}.{number}", password=_secret(), inbox_prefix=old.inbox_prefix)
    return msgspec.structs.replace(
        credentials,
        users={**credentials.users, role: new},
        retiring={**credentials.retiring, role: old},
    )


def without_old_login(credentials: Credentials, role: str) -> Credentials:
    """End the old login of a role. Raises: UsageError when there is no such role, or no old
    login.
    """
    new = _login_of(credentials, role)
    if role not in credentials.retiring:
        raise UsageError(
            f"{role}: expected an old login to end, found {new.user} alone; "
            f"begin with `lockstep rotate {role}`"
        )
    left = {name: user for name, user in credentials.retiring.items() if name != role}
    return msgspec.structs.replace(credentials, retiring=left)


def _login_of(credentials: Credentials, role: str) -> User:
    if role not in credentials.users:
        raise UsageError(
            f"{role}: expected one of {', '.join(sorted(credentials.users))}, found no such role"
        )
    return credentials.users[role]


def _new_user(role: str) -> User:
    # The engine may read any inbox. Its own prefix still keeps its answers out of the patterns of
    # other users.
    return User(user=role, password=_secret(), inbox_prefix=f"_INBOX_{role}")


def _secret() -> str:
    return secrets.token_urlsafe(24)
