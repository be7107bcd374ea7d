"""Who may do what on NATS: roles, their accounts, and the subjects that pass between accounts.

NATS delivers nothing from one account to another, except by the passages here. A reply subject
belongs to the account of the request. So a broker's message can reach no journal, whatever reply
subject it names. The permissions of each user are a second fence, inside its account.

Auditors get no consumers: a consumer's deliver subject would be written inside the engine's
account.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from gateways.nats.connection import NatsConnectionOptions

ENGINE = "engine"
OPERATOR = "operator"
AUDITOR = "auditor"
MARKET_DATA = "market_data"

ENGINE_ACCOUNT = "ENGINE"
OPERATORS_ACCOUNT = "OPERATORS"
AUDITORS_ACCOUNT = "AUDITORS"
MARKET_DATA_ACCOUNT = "MARKET_DATA"

_BROKER = "broker_"
_INSPECT = "shards.*.*.inspect"
_PROGRESS = ("heads.>", "hosts.>")
_BATCHES = "$JS.API.DIRECT.GET.>"
_READS = (
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.*",
    _BATCHES,
)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One NATS login. The client must use this inbox prefix: it can read no other inbox."""

    user: str
    password: str
    inbox_prefix: str

    def __repr__(self) -> str:
        return f"User({self.user!r})"

    def connection(self, url: str, name: str) -> NatsConnectionOptions:
        """Return the options of a connection with this login. `name` stands in NATS's
        monitoring.
        """
        return NatsConnectionOptions(
            url=url,
            user=self.user,
            password=self.password,
            name=name,
            inbox_prefix=self.inbox_prefix,
        )


class Role(NamedTuple):
    """What a role's users may do in their account, besides reading their own inbox. The engine's
    may do everything in theirs. `answers` allows one answer to each request that a user receives.
    """

    account: str
    publish: tuple[str, ...] = ()
    receive: tuple[str, ...] = ()
    answers: bool = False


class Passage(NamedTuple):
    """A subject that passes between accounts. A service takes requests of `users` to `provider`,
    and answers back. A stream takes messages of `provider` to `users`.
    """

    kind: Literal["service", "stream"]
    subject: str
    provider: str
    users: tuple[str, ...]


def broker_role(broker: str) -> str:
    """Return the role of a broker program's NATS user."""
    return f"{_BROKER}{broker}"


def broker_account(broker: str) -> str:
    """Return the NATS account of a broker."""
    return f"BROKER_{broker}"


def broker_of(role: str) -> str | None:
    """Return the broker of a role, None when it is no broker's."""
    return role.removeprefix(_BROKER) if role.startswith(_BROKER) else None


def roles_of(brokers: Iterable[str]) -> dict[str, Role]:
    """Return all roles by name."""
    return {
        ENGINE: Role(ENGINE_ACCOUNT, (">",), (">",)),
        OPERATOR: Role(
            OPERATORS_ACCOUNT, ("commands.>", "broker.*.corrections", _INSPECT), _PROGRESS
        ),
        AUDITOR: Role(AUDITORS_ACCOUNT, (_INSPECT, *_READS), _PROGRESS),
        MARKET_DATA: Role(MARKET_DATA_ACCOUNT, (f"marks.{MARKET_DATA}",)),
        **{
            broker_role(broker): Role(
                broker_account(broker),
                (f"fills.{broker}.*", f"marks.{broker}", f"executions.{broker}.*"),
                (f"broker.{broker}.>",),
                answers=True,
            )
            for broker in brokers
        },
    }


def passages(brokers: Iterable[str]) -> Iterator[Passage]:
    """Yield every subject that passes between accounts."""
    observers = (OPERATORS_ACCOUNT, AUDITORS_ACCOUNT)
    yield Passage("service", "commands.>", ENGINE_ACCOUNT, (OPERATORS_ACCOUNT,))
    yield Passage("service", _INSPECT, ENGINE_ACCOUNT, observers)
    for subject in _PROGRESS:
        yield Passage("stream", subject, ENGINE_ACCOUNT, observers)
    for subject in _READS:
        yield Passage("service", subject, ENGINE_ACCOUNT, (AUDITORS_ACCOUNT,))
    yield Passage("service", f"marks.{MARKET_DATA}", ENGINE_ACCOUNT, (MARKET_DATA_ACCOUNT,))
    for broker in brokers:
        account = broker_account(broker)
        for subject in (f"fills.{broker}.*", f"marks.{broker}", f"executions.{broker}.*"):
            yield Passage("service", subject, ENGINE_ACCOUNT, (account,))
        yield Passage("service", f"broker.{broker}.orders", account, (ENGINE_ACCOUNT,))
        yield Passage("service", f"broker.{broker}.corrections", account, (OPERATORS_ACCOUNT,))


def accounts(logins: Mapping[str, Sequence[User]]) -> dict[str, Any]:
    """Return the `accounts` of a nats-server's configuration, from the logins of each role."""
    brokers = sorted(name for role in logins if (name := broker_of(role)) is not None)
    found: dict[str, dict[str, Any]] = {}
    for name, role in roles_of(brokers).items():
        account = found.setdefault(role.account, {"users": [], "exports": [], "imports": []})
        account["users"] += [_user(name, role, login) for login in logins.get(name, ())]
    found[ENGINE_ACCOUNT]["jetstream"] = "enabled"
    for passage in passages(brokers):
        exported = {passage.kind: passage.subject, "accounts": list(passage.users)}
        if passage.subject == _BATCHES:
            # Each message of a batch is an answer of its own.
            exported["response"] = "stream"
        found[passage.provider]["exports"].append(exported)
        imported = {"account": passage.provider, "subject": passage.subject}
        for user in passage.users:
            found[user]["imports"].append({passage.kind: imported})
    return found


def _user(name: str, role: Role, login: User) -> dict[str, Any]:
    rendered: dict[str, Any] = {"user": login.user, "password": login.password}
    if name == ENGINE:
        return rendered
    permissions: dict[str, Any] = {
        "publish": {"allow": list(role.publish)},
        "subscribe": {"allow": [f"{login.inbox_prefix}.>", *role.receive]},
    }
    if role.answers:
        permissions["allow_responses"] = {"max": 1, "expires": "1m"}
    return {**rendered, "permissions": permissions}
