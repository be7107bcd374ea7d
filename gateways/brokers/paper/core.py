"""The paper broker without input and output: blocks in; ledger frames, answers and messages out.

A turn is `correct`, `take` for each waiting block, `advance`, then `cut`; the caller appends the
frame to the ledger, calls `committed`, and only then answers and publishes. Restarting is `replay`
of every frame, then the same turns: what a turn reopens stands in its frame before what becomes of
orders. What a frame says is done: rules changed later apply to later orders.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import is_rising
from engine.columns.sections import SectionError, decode_section, names_of
from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    CorrectionsReported,
    ExecutionsReported,
    GatewayEpoch,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import Frame, Ledger, record_at
from gateways.brokers.ledger.records import (
    MESSAGE_TAG,
    RECORD_HEADER,
    AccountsFiled,
    CancelsTaken,
    CorrectionTaken,
    EpochSeen,
    FrameDraft,
    LedgerError,
    LedgerOpened,
    OrdersReopened,
    OrdersTaken,
    PublishConfirmed,
    RoundSeen,
    record_type,
    walk_records,
)
from gateways.brokers.ledger.seen import SeenOrders, order_key
from gateways.brokers.paper.accounts import AccountNumbers, AccountNumbersOfBlock
from gateways.brokers.paper.check import check_cancels, check_epoch, check_orders, check_size
from gateways.brokers.paper.corrections import (
    CorrectionAsked,
    TradedOrder,
    corrected_by,
    correction_section,
    reopened_order,
)
from gateways.brokers.paper.fill_rules import (
    fees_micros,
    fill_price,
    rejected_by_count,
    rejected_by_ratio,
)
from gateways.brokers.paper.look_up import check_look_up, check_round, look_up, round_of
from gateways.brokers.paper.open_orders import OpenBatch, OpenOrders, key_of
from gateways.brokers.paper.reports import Message, Outcome, Reports, message_id, no_trade
from gateways.brokers.paper.settings import FillSettings

_NS_PER_MS = 1_000_000
_REFUSAL_LENGTH_MAX = 1000
EXECUTIONS_PER_TURN = 4_000_000
"""Executions after which a turn takes no further block or open order: bounds memory and frame."""


class TurnResult(NamedTuple):
    """One turn's result: a frame to append (empty: nothing happened) and the messages to publish
    after it.
    """

    frame: bytes
    messages: list[Message]


class PaperBrokerCore:
    """Everything the broker knows, rebuilt from its ledger."""

    def __init__(self, settings: FillSettings, ledger: Ledger, *, new_ledger_id: str) -> None:
        """Read the whole ledger; a new one gets `new_ledger_id`. Raises: LedgerError."""
        self._settings = settings
        self._ledger = ledger
        self._epoch = 0
        self._round = 0
        self._accounts = AccountNumbers()
        self._seen = SeenOrders(self._load_subscriptions)
        self._open = OpenOrders()
        self._uncommitted: dict[int, NDArray[np.int64]] = {}
        self._confirmed: dict[int, int] = {}
        self._newly_confirmed: dict[int, int] = {}
        self._reports = Reports("")
        self._recovered: dict[int, list[Message]] = {}
        self.prefix = ""
        self.taken_count = 0
        for frame in ledger.replay():
            self._replay(frame)
        self._open.schedule_all()
        self._draft = FrameDraft(ledger.end, ledger.next_number)
        if not self.prefix:
            self._draft.add(LedgerOpened(settings.name, new_ledger_id))
            self._name_executions(new_ledger_id)

    def take(self, block: bytes, now_ns: int) -> bytes:
        """Take one block, or refuse it whole. Returns: the answer, to be sent after the next
        commit.
        """
        try:
            sections = decode_block(block)
        except (SectionError, ValueError, OverflowError, MemoryError) as error:
            return _refused(str(error))
        refusal = check_epoch(sections, self._epoch)
        if not refusal and sections[0].epoch == self._epoch:
            refusal = check_round(sections, self._round)
        refusal = refusal or check_size(sections) or self._check(sections[1:])
        if refusal:
            return _refused(refusal)
        header: GatewayEpoch = sections[0]
        self._see(header.epoch, round_of(sections))
        accepted = repeated = 0
        known: list[OrdersKnown] = []
        for section in sections[1:]:
            if isinstance(section, OrdersLookedUp):
                known.append(look_up(section, self._seen))
            elif isinstance(section, SendingRound):
                pass
            elif isinstance(section, AccountsRegistered):
                self._register(section)
            elif isinstance(section, CancelsSubmitted):
                self._cancel(section, header, now_ns)
            else:
                taken = self._take_orders(section, header, now_ns)
                accepted += taken
                repeated += len(section.subscriptions) - taken
        return encode_block(BlockAnswered(accepted, repeated, ""), *known)

    def _see(self, epoch: int, number: int) -> None:
        """Note the highest epoch, and its highest round."""
        if epoch > self._epoch:
            self._epoch, self._round = epoch, 0
            self._draft.add(EpochSeen(epoch))
        if number > self._round:
            self._round = number
            self._draft.add(RoundSeen(number))

    def correct(
        self, asked: CorrectionAsked, order: TradedOrder | None, now_ns: int
    ) -> str | Refused:
        """Cancel or correct a trade of an order found in the ledger. Returns: the execution's id,
        for after the next commit.
        """
        if order is None:
            return Refused(
                "unknown_execution",
                f"exec_ref_id: expected an execution of this broker, found {asked.exec_ref_id}",
            )
        trade = corrected_by(asked, order)
        if isinstance(trade, Refused):
            return trade
        taken, shard = order.taken, order.taken.follower_shard
        more = max(trade.quantity - asked.quantity, 0) if asked.is_reopened else 0
        remaining = self._open.remaining_of(key_of(taken), order.subscription)
        if remaining and asked.quantity > trade.quantity:
            return Refused(
                "overfill",
                "last_qty: expected no more than the trade's while its order is open, found more",
            )
        leaves = remaining + more
        time_ns = self._clock_ns(taken, now_ns)
        values = (asked.exec_type, asked.exec_ref_id, asked.quantity, asked.price, asked.fee)
        self._draft.add(CorrectionTaken(*values, int(asked.is_reopened), now_ns))
        number, prefix = self._reports.next_number(shard), self._reports.prefix_of(shard)
        self._reports.add_correction(
            correction_section(asked, order, number, prefix, leaves, time_ns)
        )
        if more:
            reopened = reopened_order(taken, order.row, more, now_ns)
            self._draft.add(reopened)
            self._reopen(reopened, is_live=True)
        return f"{prefix}{number}"

    def _reopen(self, reopened: OrdersReopened, *, is_live: bool) -> None:
        batch = OpenBatch(reopened, 1, self._due_ns(reopened, reopened.taken_time))
        if self._open.reopen(batch) and is_live:
            self._open.schedule(batch)

    def advance(self, now_ns: int) -> None:
        """Execute every open order that is due by wall time."""
        for batch in self._open.take_due(now_ns):
            self._execute(batch, now_ns)
            if not batch.is_done:
                batch.due_ns = self._due_ns(batch.taken, now_ns)
                self._open.schedule(batch)
            self._open.drop_done(batch.key)
            if self.is_full:
                break

    @property
    def is_full(self) -> bool:
        """Whether this turn should be cut before more is taken."""
        return self._reports.waiting_count >= EXECUTIONS_PER_TURN

    def next_due_ns(self) -> int | None:
        """Tell when `advance` has something to do, None when nothing is open."""
        return self._open.next_due_ns()

    def confirm(self, message: Message) -> None:
        """Note that JetStream holds a message; written with the next frame."""
        self._newly_confirmed[message.follower_shard] = message.last

    def cut(self) -> TurnResult:
        """End the turn. The frame must be appended whole, then `committed` called, before the next
        turn.
        """
        messages = self._reports.write_into(self._draft)
        if self._newly_confirmed:
            shards = np.array(list(self._newly_confirmed), np.int64)
            self._draft.add(
                PublishConfirmed(shards, np.array(list(self._newly_confirmed.values()), np.int64))
            )
            self._newly_confirmed.clear()
        return TurnResult(b"" if self._draft.is_empty else self._draft.seal(), messages)

    def committed(self) -> None:
        """The cut frame is in the ledger."""
        self._uncommitted.clear()
        self._draft = FrameDraft(self._ledger.end, self._ledger.next_number)

    def unconfirmed(self) -> list[Message]:
        """List, once after a restart, the messages of the ledger that JetStream may not hold, in
        order.
        """
        messages = [
            message for shard in sorted(self._recovered) for message in self._recovered[shard]
        ]
        self._recovered.clear()
        return messages

    def message_id(self, message: Message) -> str:
        """Name a message for JetStream's duplicate check."""
        return message_id(self.prefix, message)

    def statistics(self) -> dict[str, int]:
        """Count what is kept."""
        return {
            "orders_taken": self.taken_count,
            "spans_kept": self._seen.spans_count,
            "epoch": self._epoch,
        }

    def _check(self, sections: list[Any]) -> str:
        named = AccountNumbersOfBlock(self._accounts)
        for section in sections:
            if isinstance(section, AccountsRegistered):
                refusal = named.refusal(section)
            elif isinstance(section, OrdersSubmitted):
                refusal = check_orders(section) or named.unknown_refusal(section)
            elif isinstance(section, CancelsSubmitted):
                refusal = check_cancels(section)
            elif isinstance(section, OrdersLookedUp):
                refusal = check_look_up(section, self._settings)
            elif isinstance(section, SendingRound):
                refusal = (
                    ""
                    if section is sections[0]
                    else "block: expected a SendingRound second or not at all"
                )
            else:
                refusal = (
                    f"block: expected accounts, orders and cancels, found {type(section).__name__}"
                )
            if refusal:
                return refusal
        return ""

    def _register(self, section: AccountsRegistered) -> None:
        if self._accounts.has_new(section.follower_shard, section.first, section.ids):
            self._accounts.add(section.follower_shard, section.first, section.ids)
            self._draft.add(AccountsFiled(section.follower_shard, section.first, section.ids))

    def _take_orders(self, orders: OrdersSubmitted, header: GatewayEpoch, now_ns: int) -> int:
        rows = self._fresh_rows(orders)
        taken = _taken(orders, header, now_ns, rows)
        count = len(taken.subscriptions)
        if count:
            offset = self._draft.add(taken)
            self._file(taken, offset)
            self._uncommitted[offset] = taken.subscriptions
            self._begin(taken, now_ns)
            self.taken_count += count
        return count

    def _fresh_rows(self, orders: OrdersSubmitted) -> NDArray[np.bool_] | None:
        """Mark the rows whose ids were never seen, the first of equal ones; None when all are."""
        subscriptions = orders.subscriptions
        if not len(subscriptions):
            return None
        if is_rising(subscriptions):
            repeated = self._repeated(orders, subscriptions)
            return None if repeated is None else ~repeated
        first_of_equal = np.concatenate(([True], subscriptions[1:] != subscriptions[:-1]))
        repeated = self._repeated(orders, subscriptions[first_of_equal])
        if repeated is None:
            return first_of_equal
        fresh = np.zeros(len(subscriptions), np.bool_)
        fresh[np.flatnonzero(first_of_equal)[~repeated]] = True
        return fresh

    def _repeated(
        self, orders: OrdersSubmitted, distinct: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Mark the ids that are refused because they were seen, None when none is."""
        refuses = self._settings.order_ids == "refused"
        return self._seen.repeated(_key(orders), distinct) if refuses else None

    def _begin(self, taken: OrdersTaken, now_ns: int) -> None:
        batch = OpenBatch(taken, self._settings.partial_fill_slices, self._due_ns(taken, now_ns))
        self._reject_some(batch, now_ns)
        if self._settings.fill_delay_ms:
            if not batch.is_done:
                self._open.add(batch)
            return
        while not batch.is_done:
            self._execute(batch, now_ns)

    def _reject_some(self, batch: OpenBatch, now_ns: int) -> None:
        settings, taken = self._settings, batch.taken
        chosen = np.zeros(len(taken.subscriptions), np.bool_)
        if settings.reject_every_n:
            chosen |= rejected_by_count(self.taken_count, len(chosen), settings.reject_every_n)
        if settings.reject_ratio_micros:
            chosen |= rejected_by_ratio(
                batch.key, taken.subscriptions, settings.reject_ratio_micros, settings.reject_seed
            )
        if chosen.any():
            subscriptions = batch.close_open(taken.subscriptions[chosen])
            time_ns = self._clock_ns(taken, now_ns)
            self._reports.add(
                taken, no_trade(ExecType.REJECTED, subscriptions, time_ns, "rejected as configured")
            )

    def _execute(self, batch: OpenBatch, now_ns: int) -> None:
        """Fill one slice, or let everything open expire."""
        taken, settings = batch.taken, self._settings
        time_ns = self._clock_ns(taken, now_ns)
        price = fill_price(taken.side, taken.price, taken.limit_price, settings.slippage_micros)
        if price is None or (taken.expire_time and time_ns >= taken.expire_time):
            text = "the limit does not allow the mark" if price is None else "expired"
            self._reports.add(taken, no_trade(ExecType.EXPIRED, batch.close_open(), time_ns, text))
            return
        rows, quantities = batch.next_slice()
        fees = fees_micros(quantities, price, settings.fee_rate_micros)
        subscriptions = (
            taken.subscriptions
            if len(rows) == len(taken.subscriptions)
            else taken.subscriptions[rows]
        )
        self._reports.add(
            taken, Outcome(ExecType.TRADE, subscriptions, quantities, price, fees, time_ns)
        )

    def _cancel(self, cancels: CancelsSubmitted, header: GatewayEpoch, now_ns: int) -> None:
        """Cancel what is open; an order that is done, or never came, gets no answer."""
        if not len(cancels.subscriptions):
            return
        self._draft.add(CancelsTaken(*(getattr(cancels, name) for name in names_of(CancelsTaken))))
        if not self._open:
            return
        parts = np.stack(
            (
                cancels.cause_kinds,
                cancels.creator_shards,
                cancels.cause_numbers,
                cancels.legs,
                cancels.attempts,
            )
        )
        distinct, of_row = np.unique(parts, axis=1, return_inverse=True)
        for index, coordinates in enumerate(distinct.T.tolist()):
            key = order_key(cancels.follower_shard, *coordinates)
            for batch in self._open.of_key(key):
                ended = batch.close_open(cancels.subscriptions[of_row == index])
                time_ns = header.event_time if self._settings.clock == "event" else now_ns
                self._reports.add(batch.taken, no_trade(ExecType.CANCELED, ended, time_ns))
            self._open.drop_done(key)

    def _clock_ns(self, taken: OrdersTaken, now_ns: int) -> int:
        if self._settings.clock == "wall":
            return now_ns
        return taken.event_time + self._settings.fill_delay_ms * _NS_PER_MS

    def _due_ns(self, taken: OrdersTaken, since_ns: int) -> int:
        due_ns = since_ns + self._settings.fill_delay_ms * _NS_PER_MS
        if self._settings.clock == "wall" and taken.expire_time:
            due_ns = min(due_ns, max(taken.expire_time, since_ns))
        return due_ns

    def _file(self, taken: OrdersTaken, offset: int) -> None:
        self._seen.add(key_of(taken), taken.subscriptions, offset)

    def _load_subscriptions(self, offset: int) -> NDArray[np.int64]:
        waiting = self._uncommitted.get(offset)
        if waiting is not None:
            return waiting
        return decode_section(OrdersTaken, record_at(self._ledger, offset).body).subscriptions

    def _name_executions(self, ledger_id: str) -> None:
        self.prefix = f"{self._settings.name}-{ledger_id}-"
        self._reports = Reports(self.prefix)

    def _replay(self, frame: Frame) -> None:
        for record in walk_records(frame.offset, frame.payload):
            if record.tag == MESSAGE_TAG:
                self._replay_message(record.offset + RECORD_HEADER.size, record.body)
                continue
            try:
                section = decode_section(record_type(record.tag), record.body)
            except SectionError as error:
                raise LedgerError(f"ledger record at {record.offset}: {error}") from error
            self._replay_record(section, record.offset)

    def _replay_record(self, record: Any, offset: int) -> None:
        match record:
            case LedgerOpened():
                if record.broker != self._settings.name:
                    raise LedgerError(
                        f"ledger: expected broker {self._settings.name!r}, "
                        f"found {record.broker!r}'s ledger"
                    )
                self._name_executions(record.ledger_id)
            case EpochSeen():
                self._epoch, self._round = record.epoch, 0
            case RoundSeen():
                self._round = record.number
            case AccountsFiled():
                self._accounts.add(record.follower_shard, record.first, record.ids)
            case OrdersReopened():
                self._reopen(record, is_live=False)
            case OrdersTaken():
                self._file(record, offset)
                self._open.keep(
                    OpenBatch(
                        record,
                        self._settings.partial_fill_slices,
                        self._due_ns(record, record.taken_time),
                    )
                )
                self.taken_count += len(record.subscriptions)
            case PublishConfirmed():
                for shard, number in zip(
                    record.follower_shards.tolist(), record.numbers.tolist(), strict=True
                ):
                    kept = [
                        message
                        for message in self._recovered.get(shard, ())
                        if message.last > number
                    ]
                    self._recovered[shard] = kept

    def _replay_message(self, offset: int, body: memoryview) -> None:
        sections: list[ExecutionsReported | CorrectionsReported] = decode_block(body)
        for section in sections:
            if isinstance(section, CorrectionsReported):
                continue
            key = _key(section)
            self._open.apply_report(
                key, section.subscriptions, section.exec_types, section.quantities
            )
        shard = sections[0].follower_shard
        first, last = int(sections[0].numbers[0]), int(sections[-1].numbers[-1])
        self._reports.last_numbers[shard] = last
        self._recovered.setdefault(shard, []).append(
            Message(shard, first, last, offset, len(body), None)
        )


def _key(section: OrdersSubmitted | ExecutionsReported) -> int:
    return order_key(
        section.follower_shard,
        section.cause_kind,
        section.creator_shard,
        section.cause_number,
        section.leg,
        section.attempt,
    )


def _taken(
    orders: OrdersSubmitted, header: GatewayEpoch, now_ns: int, rows: NDArray[np.bool_] | None
) -> OrdersTaken:
    columns = (orders.subscriptions, orders.accounts, orders.quantities)
    if rows is not None:
        columns = (columns[0][rows], columns[1][rows], columns[2][rows])
    return OrdersTaken(
        orders.follower_shard,
        orders.frame,
        orders.cause_kind,
        orders.creator_shard,
        orders.cause_number,
        orders.leg,
        orders.attempt,
        orders.symbol,
        orders.side,
        orders.price,
        orders.limit_price,
        orders.expire_time,
        header.epoch,
        header.event_time,
        now_ns,
        *columns,
    )


def _refused(why: str) -> bytes:
    return encode_block(BlockAnswered(0, 0, why[:_REFUSAL_LENGTH_MAX]))
