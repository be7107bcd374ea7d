"""A small broker that speaks JSON with Lockstep, written with nats-py, json and sqlite3 alone.

It fills each order at once at its mark, or ends it as expired when its limit or its time forbids
that. So a cancel finds nothing to cancel. `gateways/protocol/broker-programs.md` is the protocol.

    python examples/json_broker.py --name acme --credentials lockstep-data/credentials.json \
        --ledger acme.sqlite
"""

import argparse
import asyncio
import json
import sqlite3
import uuid
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import nats
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

CONTENT, EPOCH, ROUND, CLUSTER = 1, 2, 3, 4
MESSAGES_AT_ONCE = 64
EXECUTIONS_AT_ONCE = 500
PAUSE_S = 0.2
TABLES = """
create table if not exists state (name text primary key, value);
create table if not exists accounts (account text primary key, account_id text);
create table if not exists orders (order_id text primary key);
create table if not exists frames (
    follower_shard integer primary key, frame integer, frame_hash text, frame_sequence integer);
create table if not exists executions (
    follower_shard integer, number integer, body text, is_confirmed integer,
    primary key (follower_shard, number));
create index if not exists unconfirmed on executions (follower_shard) where is_confirmed = 0;
"""


class Refused(Exception):
    """A message is refused whole, with a code and what was expected and found."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Ledger:
    """Everything that must survive the process. `take` checks a whole message before it writes."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        self.db.executescript(TABLES)
        self.db.execute("begin")
        self.name = self.state("ledger", "") or f"json-{uuid.uuid4().hex[:12]}"
        self.set_state("ledger", self.name)
        self.commit()
        found = "select follower_shard, max(number) from executions group by follower_shard"
        self.last_numbers: dict[int, int] = dict(self.db.execute(found).fetchall())

    def state(self, name: str, absent: Any) -> Any:
        row = self.db.execute("select value from state where name = ?", (name,)).fetchone()
        return absent if row is None else row[0]

    def set_state(self, name: str, value: Any) -> None:
        self.db.execute("insert or replace into state values (?, ?)", (name, value))

    def commit(self) -> None:
        """Put everything on the disk, and begin anew."""
        self.db.execute("commit")
        self.db.execute("begin")

    # One message.

    def take(self, data: bytes) -> dict[str, Any]:
        """Take a message or refuse it whole. Returns: the answer, to be sent after `commit`."""
        try:
            message = parsed(data)
            self.check_sender(message)
            self.check_accounts(message)
        except Refused as refusal:
            return {"accepted": 0, "repeated": 0, "code": refusal.code, "refusal": str(refusal)}
        self.note_sender(message)
        self.db.executemany(
            "insert or ignore into accounts values (:account, :account_id)", message["accounts"]
        )
        accepted = sum(self.place(order) for order in message["orders"])
        for frame in message["frames"]:
            self.note_frame(frame)
        answer = {"accepted": accepted, "repeated": len(message["orders"]) - accepted, "code": 0}
        if message["look_ups"]:
            answer["known"] = [each for each in message["look_ups"] if self.has_order(each)]
        if not any(message[name] for name in ("accounts", "orders", "cancels", "look_ups")):
            answer["history"] = self.history()
        return answer

    def check_sender(self, message: dict[str, Any]) -> None:
        cluster, epoch, round = self.state("cluster", ""), self.state("epoch", 0), message["round"]
        if message["cluster"] and cluster and message["cluster"] != cluster:
            raise Refused(CLUSTER, f"cluster: expected {cluster}, found {message['cluster']}")
        if message["epoch"] < epoch:
            raise Refused(EPOCH, f"epoch: expected at least {epoch}, found {message['epoch']}")
        known = self.state("round", 0) if message["epoch"] == epoch else 0
        if round is not None and round < known:
            raise Refused(ROUND, f"round: expected at least {known}, found {round}")

    def check_accounts(self, message: dict[str, Any]) -> None:
        named: dict[str, str] = {}
        for each in message["accounts"]:
            account, account_id = each["account"], each["account_id"]
            known = named.setdefault(account, self.account_id(account) or account_id)
            if known != account_id:
                raise Refused(CONTENT, f"account {account}: expected {known}, found {account_id}")
        for order in message["orders"]:
            if order["account"] not in named and self.account_id(order["account"]) is None:
                raise Refused(CONTENT, f"account: expected a known one, found {order['account']}")

    def account_id(self, account: str) -> str | None:
        found = "select account_id from accounts where account = ?"
        row = self.db.execute(found, (account,)).fetchone()
        return None if row is None else str(row[0])

    def note_sender(self, message: dict[str, Any]) -> None:
        if message["epoch"] > self.state("epoch", 0):
            self.set_state("epoch", message["epoch"])
            self.set_state("round", 0)
        if message["round"] is not None:
            self.set_state("round", message["round"])
        if message["cluster"] and not self.state("cluster", ""):
            self.set_state("cluster", message["cluster"])

    def note_frame(self, frame: dict[str, Any]) -> None:
        self.db.execute(
            "insert into frames values (:follower_shard, :frame, :frame_hash, :frame_sequence) "
            "on conflict do update set frame = excluded.frame, frame_hash = excluded.frame_hash, "
            "frame_sequence = excluded.frame_sequence where excluded.frame > frame",
            frame,
        )

    def has_order(self, order_id: str) -> bool:
        found = "select 1 from orders where order_id = ?"
        return self.db.execute(found, (order_id,)).fetchone() is not None

    def place(self, order: dict[str, Any]) -> bool:
        """Place an order, and execute it at once. Returns: False for an id that it has."""
        added = self.db.execute("insert or ignore into orders values (?)", (order["order_id"],))
        if not added.rowcount:
            return False
        shard, now = order["follower_shard"], datetime.now(UTC)
        number = self.last_numbers.get(shard, 0) + 1
        self.last_numbers[shard] = number
        execution = {
            "exec_id": f"{self.prefix(shard)}{number}",
            "order_id": order["order_id"],
            "exec_type": "expired",
            "transact_time": now.isoformat(),
        }
        if may_trade(order, now):
            traded = {"last_qty": order["order_qty"], "last_px": order["mark_px"]}
            execution |= {"exec_type": "trade", **traded}
        row = (shard, number, json.dumps(execution))
        self.db.execute("insert into executions values (?, ?, ?, 0)", row)
        return True

    def prefix(self, shard: int) -> str:
        """The beginning of the ids of a shard's executions."""
        return f"{self.name}-{shard}-"

    def history(self) -> dict[str, Any]:
        """What this ledger holds, for the answer to an introduction."""
        names = ("follower_shard", "frame", "frame_hash", "frame_sequence")
        frames = self.db.execute(f"select {', '.join(names)} from frames").fetchall()
        confirmed = (
            "select follower_shard, coalesce(min(number) - 1, 0) from executions "
            "where is_confirmed = 0 group by follower_shard"
        )
        open_from = dict(self.db.execute(confirmed).fetchall())
        return {
            "ledger": self.name,
            "confirmed_sequence": self.state("confirmed_sequence", 0),
            "frames": [dict(zip(names, frame, strict=True)) for frame in frames],
            "executions": [
                {
                    "follower_shard": shard,
                    "prefix": self.prefix(shard),
                    "last_number": last,
                    "confirmed_number": open_from.get(shard, last),
                }
                for shard, last in self.last_numbers.items()
            ],
        }

    # Executions to publish.

    def unconfirmed(self) -> tuple[int, list[tuple[int, str]]]:
        """The first shard with executions that JetStream has not acknowledged, and the first of
        these: number and JSON.
        """
        row = self.db.execute(
            "select min(follower_shard) from executions where is_confirmed = 0"
        ).fetchone()
        if row[0] is None:
            return 0, []
        found = (
            "select number, body from executions where is_confirmed = 0 and follower_shard = ? "
            "order by number limit ?"
        )
        return row[0], self.db.execute(found, (row[0], EXECUTIONS_AT_ONCE)).fetchall()

    def confirm(self, shard: int, first: int, last: int, sequence: int) -> None:
        self.db.execute(
            "update executions set is_confirmed = 1 "
            "where follower_shard = ? and number between ? and ?",
            (shard, first, last),
        )
        self.set_state("confirmed_sequence", max(sequence, self.state("confirmed_sequence", 0)))
        self.commit()


def may_trade(order: dict[str, Any], now: datetime) -> bool:
    """Return whether an order's limit and time allow a trade at its mark."""
    if order["expire_time"] is not None and now >= order["expire_time"]:
        return False
    if order["price"] is None:
        return True
    beyond = Decimal(order["mark_px"]) - Decimal(order["price"])
    return beyond <= 0 if order["side"] == "buy" else beyond >= 0


# Reading a message.


def parsed(data: bytes) -> dict[str, Any]:
    """Read a message, each of its fields checked. Raises: Refused."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(CONTENT, f"message: expected JSON, found {error}"[:200]) from None
    if not isinstance(message, dict):
        raise Refused(CONTENT, f"message: expected an object, found {str(message)[:60]}")
    rows = ("accounts", "orders", "cancels", "look_ups", "frames")
    found: dict[str, Any] = {name: field(message, name, list, []) for name in rows}
    found |= {
        "epoch": field(message, "epoch", int),
        "round": field(message, "round", int, None),
        "cluster": field(message, "cluster", str, ""),
    }
    for each in found["accounts"]:
        field(each, "account", str), field(each, "account_id", str)
    for each in found["frames"]:
        for name in ("follower_shard", "frame", "frame_sequence"):
            field(each, name, int)
        field(each, "frame_hash", str)
    found["orders"] = [order_of(each) for each in found["orders"]]
    return found


def order_of(raw: Any) -> dict[str, Any]:
    """Read an order. Raises: Refused."""
    order: dict[str, Any] = {
        name: field(raw, name, str)
        for name in ("order_id", "account", "symbol", "side", "order_qty", "ord_type", "mark_px")
    }
    order["follower_shard"] = field(raw, "follower_shard", int)
    order["price"] = field(raw, "price", str, None)
    expiry = field(raw, "expire_time", str, None)
    order["expire_time"] = None if expiry is None else time_of(expiry)
    if order["side"] not in ("buy", "sell"):
        raise Refused(CONTENT, f"side: expected buy or sell, found {order['side'][:20]}")
    if order["ord_type"] not in ("limit", "market"):
        raise Refused(
            CONTENT, f"ord_type: expected limit or market, found {order['ord_type'][:20]}"
        )
    if (order["ord_type"] == "limit") != (order["price"] is not None):
        raise Refused(CONTENT, f"price: expected for a limit order only, found {order['price']}")
    for name in ("order_qty", "mark_px", "price"):
        if order[name] is not None:
            check_positive(order[name], name)
    return order


def field(row: Any, name: str, kind: type, *absent: Any) -> Any:
    """Read a field of a JSON object. Raises: Refused when it is missing or of another type."""
    if not isinstance(row, dict):
        raise Refused(CONTENT, f"expected an object with {name}, found {str(row)[:60]}")
    if name not in row and absent:
        return absent[0]
    if not isinstance(row.get(name), kind):
        raise Refused(
            CONTENT, f"{name}: expected {kind.__name__}, found {str(row.get(name, 'none'))[:60]}"
        )
    return row[name]


def check_positive(text: str, what: str) -> None:
    try:
        is_positive = Decimal(text).is_finite() and Decimal(text) > 0
    except InvalidOperation:
        is_positive = False
    if not is_positive:
        raise Refused(CONTENT, f"{what}: expected a decimal above 0, found {text[:60]}")


def time_of(text: str) -> datetime:
    """Read a time to the microsecond; the rest is cut off. Raises: Refused."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}+00:00")
    except ValueError:
        raise Refused(CONTENT, f"expire_time: expected a UTC time, found {text[:60]}") from None


# Speaking NATS.


async def answer_messages(
    subscription: Subscription, ledger: Ledger, has_executions: asyncio.Event
) -> None:
    """Take messages, as many as wait, and answer them once the ledger is on disk."""
    while True:
        messages = [await subscription.next_msg(timeout=None)]
        while subscription.pending_msgs and len(messages) < MESSAGES_AT_ONCE:
            messages.append(await subscription.next_msg())
        answers = [ledger.take(message.data) for message in messages]
        ledger.commit()
        for message, answer in zip(messages, answers, strict=True):
            await message.respond(json.dumps(answer).encode())
        has_executions.set()


async def publish_executions(
    stream: JetStreamContext, name: str, ledger: Ledger, has_executions: asyncio.Event
) -> None:
    """Publish executions until JetStream has acknowledged each."""
    while True:
        shard, rows = ledger.unconfirmed()
        if not rows:
            has_executions.clear()
            await has_executions.wait()
            continue
        first, last = rows[0][0], rows[-1][0]
        body = f"[{','.join(row[1] for row in rows)}]".encode()
        try:
            stored = await stream.publish(f"executions.{name}.{shard}", body)
        except (NatsError, TimeoutError):
            await asyncio.sleep(PAUSE_S)
            continue
        ledger.confirm(shard, first, last, stored.seq)


async def serve(given: argparse.Namespace) -> None:
    ledger = Ledger(given.ledger)
    credentials = json.loads(given.credentials.read_text())
    login = credentials["users"][f"broker_{given.name}"]
    connection = await nats.connect(
        credentials["nats_url"],
        user=login["user"],
        password=login["password"],
        inbox_prefix=login["inbox_prefix"],
        name=f"broker {given.name}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=PAUSE_S,
    )
    subscription = await connection.subscribe(f"broker.{given.name}.orders")
    has_executions = asyncio.Event()
    await asyncio.gather(
        answer_messages(subscription, ledger, has_executions),
        publish_executions(connection.jetstream(), given.name, ledger, has_executions),
    )


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="the broker's name in the configuration")
    parser.add_argument("--credentials", required=True, type=Path, help="the cluster's file")
    parser.add_argument("--ledger", required=True, help="a SQLite file that only this broker uses")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
