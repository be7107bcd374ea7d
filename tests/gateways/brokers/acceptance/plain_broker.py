"""A second broker, written with dictionaries and JSON and nothing of the broker program: it shows
that the suite asks for the protocol only. It can be told to commit one fault.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np

from engine.columns.section_types import SectionError
from engine.columns.sections import UnknownSection
from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    ExecutionsStated,
    FramesSent,
    GatewayEpoch,
    HistoryStated,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
    RefusalCode,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.values.order_ids import CauseKind, OrderId

_CODES = {
    "epoch": RefusalCode.EPOCH,
    "round": RefusalCode.ROUND,
    "cluster": RefusalCode.CLUSTER,
}


class Fault(Enum):
    """The faults of wrong broker programs."""

    NONE = auto()
    TAKES_OLD_EPOCHS = auto()
    FORGETS_THE_EPOCH = auto()
    LEARNS_EPOCHS_OF_REFUSED_BLOCKS = auto()
    NEEDS_NO_EPOCH = auto()
    ANSWERS_TWICE = auto()
    COUNTS_THE_LAST_SECTION_ONLY = auto()
    APPLIES_HALF_A_BLOCK = auto()
    CHECKS_NO_ORDERS = auto()
    REFUSES_OPTIONAL_SECTIONS = auto()
    TAKES_SMALL_BLOCKS_ONLY = auto()
    ACCEPTS_JUNK = auto()
    DIES_OF_JUNK = auto()
    RENAMES_ACCOUNTS = auto()
    FORGETS_ACCOUNTS = auto()
    PLACES_IDS_AGAIN = auto()
    FORGETS_IDS = auto()
    REFUSES_BLOCKS_WITH_OLD_IDS = auto()
    CANCELS_WHAT_IS_DONE = auto()
    CANCELS_WHAT_NEVER_CAME = auto()
    TAKES_OLD_ROUNDS = auto()
    FORGETS_THE_ROUND = auto()
    KNOWS_NO_ORDERS = auto()
    ANSWERS_LOOK_UPS_BACKWARDS = auto()
    ANSWERS_BEFORE_WRITING = auto()
    WRITES_HALF_BLOCKS = auto()
    PUBLISHES_ONCE_ONLY = auto()
    FORGETS_EXECUTIONS = auto()
    NUMBERS_EXECUTIONS_ANEW = auto()
    FILLS_TOO_MUCH = auto()
    IGNORES_LIMITS = auto()
    IGNORES_EXPIRY = auto()
    NEVER_ENDS_ONE = auto()
    PUBLISHES_UNDER_ANOTHER_SHARD = auto()
    PUBLISHES_UNREADABLE_JSON = auto()
    HAS_ONE_CODE_ONLY = auto()
    TAKES_OTHER_CLUSTERS = auto()
    FORGETS_THE_CLUSTER = auto()
    STATES_THE_LAST_FRAME = auto()
    FORGETS_FRAMES = auto()
    STATES_TOO_FEW_EXECUTIONS = auto()
    STATES_NOTHING = auto()
    """No fault: a program of before there were codes, clusters and histories."""


class Execution(NamedTuple):
    """One execution, as its JSON says it."""

    shard: int
    number: int
    json: dict[str, str]


class Taken(NamedTuple):
    """The outcome of a block: records to write, the answer, and executions to publish."""

    records: list[tuple[Any, ...]]
    answer: bytes
    executions: list[Execution]


class PlainBroker:
    """Fills every order at its mark, at once."""

    def __init__(
        self, records: Iterable[tuple[Any, ...]], fault: Fault, order_ids: str, start: int
    ) -> None:
        """Read what an earlier process wrote; `start` counts the processes."""
        self.fault = fault
        self._order_ids = order_ids
        self._start = start
        self._epoch = self._round = 0
        self._cluster = ""
        self._frames: dict[int, tuple[int, int, int]] = {}
        self._accounts: dict[tuple[int, int], str] = {}
        self._orders: set[OrderId] = set()
        self._numbers = 0
        self._unconfirmed: dict[int, Execution] = {}
        for record in records:
            self._apply(record)
        if fault is Fault.FORGETS_THE_EPOCH:
            self._epoch = 0
        if fault is Fault.FORGETS_THE_CLUSTER:
            self._cluster = ""
        if fault is Fault.FORGETS_FRAMES:
            self._frames.clear()
        if fault is Fault.FORGETS_THE_ROUND:
            self._round = 0
        if fault is Fault.FORGETS_ACCOUNTS:
            self._accounts.clear()
        if fault is Fault.FORGETS_IDS:
            self._orders.clear()
        if fault is Fault.FORGETS_EXECUTIONS:
            self._unconfirmed.clear()

    def unconfirmed(self) -> list[Execution]:
        """The executions that the stream may not hold."""
        found = list(self._unconfirmed.values())
        if self.fault is Fault.NUMBERS_EXECUTIONS_ANEW:
            return [
                each._replace(json=each.json | {"exec_id": f"again-{self._start}-{each.number}"})
                for each in found
            ]
        return found

    def take(self, block: bytes, now_ns: int) -> Taken:
        """Take a block, or refuse it whole."""
        try:
            sections = [each for each in decode_block(block) if self._is_read(each)]
        except (SectionError, ValueError) as error:
            if self.fault is Fault.DIES_OF_JUNK:
                raise
            refusal = "" if self.fault is Fault.ACCEPTS_JUNK else str(error)
            return Taken([], self._refused(refusal), [])
        if self.fault is Fault.LEARNS_EPOCHS_OF_REFUSED_BLOCKS and sections:
            self._epoch = max(self._epoch, getattr(sections[0], "epoch", 0))
        refusal = self._refusal(sections)
        good = sections
        if refusal and self.fault is Fault.APPLIES_HALF_A_BLOCK:
            good = [each for each in sections if not self._refusal([sections[0], each])]
        elif refusal:
            return Taken([], self._refused(refusal), [])
        return self._taken(good, now_ns, refusal)

    def _refused(self, refusal: str) -> bytes:
        code = _CODES.get(refusal.split(" ", 1)[0], RefusalCode.CONTENT)
        if self.fault is Fault.HAS_ONE_CODE_ONLY:
            code = RefusalCode.CONTENT
        if self.fault is Fault.STATES_NOTHING:
            code = RefusalCode.NOT_STATED
        return encode_block(BlockAnswered(0, 0, refusal, code))

    def _history(self, sections: list[Any]) -> list[Any]:
        """State the history to a gateway that introduces itself."""
        is_introduction = all(isinstance(each, GatewayEpoch | SendingRound) for each in sections)
        if not is_introduction or self.fault is Fault.STATES_NOTHING:
            return []
        rows = [(shard, *self._frames[shard]) for shard in sorted(self._frames)]
        columns = np.array(rows, np.int64).reshape(-1, 4).T.copy()
        few = self.fault is Fault.STATES_TOO_FEW_EXECUTIONS
        last = self._numbers // 2 if few else self._numbers
        return [HistoryStated("plain", 0, *columns), ExecutionsStated(1, "x-", last, 0)]

    def _taken(self, sections: list[Any], now_ns: int, refusal: str) -> Taken:
        records = list(self._records(sections, now_ns))
        known = [self._known(each) for each in sections if isinstance(each, OrdersLookedUp)]
        if self.fault is Fault.ANSWERS_LOOK_UPS_BACKWARDS:
            known.reverse()
        for record in records:
            self._apply(record)
        orders = [each for each in sections if isinstance(each, OrdersSubmitted)]
        if self.fault is Fault.COUNTS_THE_LAST_SECTION_ONLY:
            orders = orders[-1:]
        count = sum(len(each.subscriptions) for each in orders)
        accepted = sum(record[0] == "order" for record in records)
        accepted = min(accepted, count)
        code = RefusalCode.NONE if self.fault is not Fault.STATES_NOTHING else -1
        answer = BlockAnswered(accepted, count - accepted, "", code)
        known += self._history(sections)
        if refusal:
            answer = BlockAnswered(0, 0, refusal)
        executions = [each for record in records for each in record[2:] if record[0] == "order"]
        executions += [record[1] for record in records if record[0] == "execution"]
        return Taken(records, encode_block(answer, *known), executions)

    def _is_read(self, section: Any) -> bool:
        if isinstance(section, UnknownSection):
            if self.fault is Fault.REFUSES_OPTIONAL_SECTIONS:
                raise ValueError("unknown section")
            return False
        return True

    def _refusal(self, sections: list[Any]) -> str:
        if not sections or not isinstance(sections[0], GatewayEpoch):
            return "" if self.fault is Fault.NEEDS_NO_EPOCH else "no epoch"
        found = sections[0].cluster
        if found and self._cluster not in ("", found) and self._keeps_cluster:
            return f"cluster {found} is not {self._cluster}"
        if sections[0].epoch < self._epoch and self.fault is not Fault.TAKES_OLD_EPOCHS:
            return f"epoch {sections[0].epoch} is over"
        rounds = [each.number for each in sections if isinstance(each, SendingRound)]
        is_late = sections[0].epoch == self._epoch and rounds and rounds[0] < self._round
        if is_late and self.fault is not Fault.TAKES_OLD_ROUNDS:
            return f"round {rounds[0]} is over"
        if self.fault is Fault.TAKES_SMALL_BLOCKS_ONLY and len(sections) > 100:
            return "too many sections"
        named = dict(self._accounts)
        for section in sections[1:]:
            refusal = self._section_refusal(section, named)
            if refusal:
                return refusal
        return ""

    @property
    def _keeps_cluster(self) -> bool:
        return self.fault not in (Fault.TAKES_OTHER_CLUSTERS, Fault.STATES_NOTHING)

    def _section_refusal(self, section: Any, named: dict[tuple[int, int], str]) -> str:
        if isinstance(section, AccountsRegistered):
            for number, name in enumerate(section.ids, section.first):
                known = named.setdefault((section.follower_shard, number), name)
                if known != name and self.fault is not Fault.RENAMES_ACCOUNTS:
                    return f"account {number} is {known}"
        elif isinstance(section, OrdersSubmitted):
            return self._orders_refusal(section, named)
        elif isinstance(section, OrdersLookedUp) and self._order_ids == "unchecked":
            return "no look-ups here"
        return ""

    def _orders_refusal(self, orders: OrdersSubmitted, named: dict[tuple[int, int], str]) -> str:
        is_old = any(order in self._orders for order, *_ in rows(orders))
        if is_old and self.fault is Fault.REFUSES_BLOCKS_WITH_OLD_IDS:
            return "seen before"
        if self.fault is Fault.CHECKS_NO_ORDERS:
            return ""
        unknown = set(orders.accounts.tolist()) - {
            number for shard, number in named if shard == orders.follower_shard
        }
        if unknown:
            return f"accounts {unknown} are not registered"
        if not len(orders.subscriptions) == len(orders.accounts) == len(orders.quantities):
            return "columns of unequal length"
        if orders.side not in (1, -1) or orders.price <= 0 or orders.limit_price < 0:
            return "side or price"
        return "quantity" if any(quantity <= 0 for quantity in orders.quantities.tolist()) else ""

    def _records(self, sections: list[Any], now_ns: int) -> Iterator[tuple[Any, ...]]:
        fresh: set[OrderId] = set()
        for section in sections:
            if isinstance(section, GatewayEpoch):
                if section.epoch > self._epoch:
                    yield "epoch", section.epoch
                if section.cluster and not self._cluster:
                    yield "cluster", section.cluster
            elif isinstance(section, FramesSent):
                columns = (section.frames, section.frame_hashes, section.frame_sequences)
                rows_of = zip(*(column.tolist() for column in columns), strict=True)
                for shard, row in zip(section.follower_shards.tolist(), rows_of, strict=True):
                    is_last = self.fault is Fault.STATES_THE_LAST_FRAME
                    if is_last or row > self._frames.get(shard, (0, 0, 0)):
                        yield "frame", shard, row
            elif isinstance(section, SendingRound):
                yield "round", section.number
            elif isinstance(section, AccountsRegistered):
                for number, name in enumerate(section.ids, section.first):
                    yield "account", (section.follower_shard, number), name
            elif isinstance(section, OrdersSubmitted):
                for order, quantity in rows(section):
                    is_new = order not in self._orders and order not in fresh
                    if is_new or self._places_again:
                        fresh.add(order)
                        yield "order", order, *self._executions(order, section, quantity, now_ns)
            elif isinstance(section, CancelsSubmitted):
                yield from self._canceled(section, now_ns)

    @property
    def _places_again(self) -> bool:
        return self.fault is Fault.PLACES_IDS_AGAIN or self._order_ids != "refused"

    def _canceled(self, cancels: CancelsSubmitted, now_ns: int) -> Iterator[tuple[Any, ...]]:
        for values in zip(
            *(
                column.tolist()
                for column in (
                    cancels.cause_kinds,
                    cancels.creator_shards,
                    cancels.cause_numbers,
                    cancels.subscriptions,
                    cancels.legs,
                    cancels.attempts,
                )
            ),
            strict=True,
        ):
            order = OrderId(cancels.follower_shard, CauseKind(values[0]), *values[1:])
            is_known = order in self._orders
            if (self.fault is Fault.CANCELS_WHAT_IS_DONE and is_known) or (
                self.fault is Fault.CANCELS_WHAT_NEVER_CAME and not is_known
            ):
                yield "execution", self._execution(order, now_ns, exec_type="canceled")

    def _executions(
        self, order: OrderId, section: OrdersSubmitted, quantity: int, now_ns: int
    ) -> Iterator[Execution]:
        """Decide an order. Its executions stand in its record."""
        is_expired = now_ns >= section.expire_time > 0 and self.fault is not Fault.IGNORES_EXPIRY
        beyond = section.limit_price and section.side * (section.limit_price - section.price) < 0
        if is_expired or (beyond and self.fault is not Fault.IGNORES_LIMITS):
            yield self._execution(order, now_ns, exec_type="expired")
            return
        if self.fault is Fault.NEVER_ENDS_ONE and order.subscription == 3:
            return
        filled = 2 * quantity if self.fault is Fault.FILLS_TOO_MUCH else quantity
        yield self._execution(
            order,
            now_ns,
            exec_type="trade",
            last_qty=f"{filled // 10**8}.{filled % 10**8:08}",
            last_px=f"{section.price // 10**6}.{section.price % 10**6:06}",
        )

    def _execution(self, order: OrderId, now_ns: int, **fields: str) -> Execution:
        self._numbers += 1
        seconds, rest = divmod(now_ns, 10**9)
        time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        json = {
            "exec_id": f"x-{self._numbers}",
            "order_id": str(order),
            "transact_time": f"{time}.{rest:09}Z",
        } | fields
        if self.fault is Fault.PUBLISHES_UNREADABLE_JSON:
            json["last_qty"] = "many"
        return Execution(order.shard, self._numbers, json)

    def _known(self, asked: OrdersLookedUp) -> OrdersKnown:
        coordinates = {
            name: getattr(asked, name)
            for name in asked.__struct_fields__
            if name != "subscriptions"
        }
        marks = [order in self._orders for order in ids(asked)]
        if self.fault is Fault.KNOWS_NO_ORDERS:
            marks = [False] * len(marks)
        return OrdersKnown(**coordinates, subscriptions=asked.subscriptions[marks])

    def _apply(self, record: tuple[Any, ...]) -> None:
        match record:
            case "epoch", epoch:
                self._epoch, self._round = epoch, 0
            case "cluster", cluster:
                self._cluster = cluster
            case "frame", shard, row:
                self._frames[shard] = row
            case "round", number:
                self._round = max(self._round, number)
            case "account", key, name:
                self._accounts[key] = name
            case "order", order, *executions:
                self._orders.add(order)
                for execution in executions:
                    self._report(execution)
            case "execution", execution:
                self._report(execution)
            case "confirmed", number if self.fault is not Fault.NUMBERS_EXECUTIONS_ANEW:
                self._unconfirmed.pop(number, None)

    def _report(self, execution: Execution) -> None:
        self._unconfirmed[execution.number] = execution
        self._numbers = max(self._numbers, execution.number)


def ids(section: OrdersSubmitted | OrdersLookedUp) -> Iterator[OrderId]:
    """The ids of a section, row by row."""
    for subscription in section.subscriptions.tolist():
        yield OrderId(
            section.follower_shard,
            CauseKind(section.key.cause_kind),
            section.key.creator_shard,
            section.key.cause_number,
            subscription,
            section.key.leg,
            section.key.attempt,
        )


def rows(orders: OrdersSubmitted) -> Iterator[tuple[OrderId, int]]:
    """The ids and quantities of a section."""
    return zip(ids(orders), orders.quantities.tolist(), strict=False)
