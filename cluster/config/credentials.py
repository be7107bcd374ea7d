"""Logins of the embedded servers, and the permissions of each NATS user.

DIR/credentials.json (mode 0600) is made once per data directory. It tells other programs where the
servers are and how to log in. NATS refuses a client without credentials.

A broker's user may publish that broker's fills, marks and executions. It may take that broker's
orders and answer them, and read its own inbox. It may do nothing else.
"""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from cluster.errors import ClusterError

ENGINE = "engine"
ADMIN = "admin"

ADMIN_PUBLISH = (
    "commands.>",
    "broker.*.corrections",
    "shards.*.*.inspect",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.DELETE.>",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.ACK.>",
    "$JS.FC.>",
)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One NATS login. The client must use this inbox prefix: it can read no other inbox."""

    user: str
    password: str
    inbox_prefix: str

    def __repr__(self) -> str:
        return f"User({self.user!r})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The content of DIR/credentials.json. Users are by role: `engine`, `admin`, `broker_<name>`.
    URLs are empty until the servers run.
    """

    users: dict[str, User]
    postgres_password: str
    nats_url: str = ""
    postgres_url: str = ""
    ray_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(users={sorted(self.users)})"


def broker_role(broker: str) -> str:
    """Return the role of a broker program's NATS user."""
    return f"broker_{broker}"


def credentials_path(data: Path) -> Path:
    """Return the path of a data directory's credentials."""
    return data / "credentials.json"


def ensure_credentials(data: Path, brokers: Iterable[str]) -> Credentials:
    """Read the credentials and add users that are missing. Raises: ClusterError when the file is
    unreadable.
    """
    path = credentials_path(data)
    found = (
        read_credentials(data)
        if path.exists()
        else Credentials(users={}, postgres_password=_secret(), ray_token=_secret())
    )
    roles = (ENGINE, ADMIN, *(broker_role(broker) for broker in brokers))
    # The directory may have used an external server without a login; the embedded one needs one.
    missing = {
        role: _new_user(role)
        for role in roles
        if role not in found.users or not found.users[role].user
    }
    if not missing and path.exists():
        return found
    return write_credentials(data, msgspec.structs.replace(found, users={**found.users, **missing}))


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
    path = credentials_path(data)
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(credentials)) + b"\n")
    partial.replace(path)
    return credentials


def nats_users(credentials: Credentials) -> str:
    """Render the users and their permissions for a nats-server configuration file."""
    return json.dumps(
        [_rendered(role, user) for role, user in sorted(credentials.users.items())], indent=2
    )


def _rendered(role: str, user: User) -> dict[str, Any]:
    rendered: dict[str, Any] = {"user": user.user, "password": user.password}
    inbox = f"{user.inbox_prefix}.>"
    if role == ADMIN:
        rendered["permissions"] = {
            "publish": {"allow": list(ADMIN_PUBLISH)},
            "subscribe": {"allow": [inbox, "heads.>", "hosts.>"]},
        }
    elif role != ENGINE:
        broker = role.removeprefix("broker_")
        rendered["permissions"] = {
            "publish": {
                "allow": [f"fills.{broker}.*", f"marks.{broker}", f"executions.{broker}.*"]
            },
            "subscribe": {"allow": [inbox, f"broker.{broker}.>"]},
            "allow_responses": {"max": 1, "expires": "1m"},
        }
    return rendered


def _new_user(role: str) -> User:
    # The engine may read any inbox. Its own prefix still keeps its answers out of the patterns of
    # other users.
    return User(user=role, password=_secret(), inbox_prefix=f"_INBOX_{role}")


def _secret() -> str:
    return secrets.token_urlsafe(24)
