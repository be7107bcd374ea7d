"""Logins that may change while a connection lives: a client reads its login from a file whenever it
connects.
"""

from pathlib import Path

import msgspec


class LoginFile(msgspec.Struct, frozen=True):
    """A file of logins by role, `{"users": {role: {"user": ..., "password": ...}}}`, and the role
    to log in as.
    """

    path: str
    role: str


class _Login(msgspec.Struct):
    user: str
    password: str


class _Logins(msgspec.Struct):
    users: dict[str, _Login]


def read_login(file: LoginFile) -> tuple[str, str] | None:
    """Return the user and password of the file's role; None when the file has none."""
    try:
        login = msgspec.json.decode(Path(file.path).read_bytes(), type=_Logins).users[file.role]
    except (OSError, msgspec.DecodeError, KeyError):
        return None
    return login.user, login.password
