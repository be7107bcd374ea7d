"""A broker program without input and output: blocks in; ledger frames, answers and messages out.

A turn is: requests of the venue, `take` for each waiting block, `advance`, then `end_turn`. The
caller appends the frame to the ledger and calls `committed`. Only then does it answer and publish.
A restart replays every frame and then goes on with turns. A frame is final: rules that change later
apply to later orders.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from engine.columns.section_codec import decode_section
from engine.columns.section_types import SectionError
from engine.columns.sections import UnknownSection
from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    FramesSent,
    GatewayEpoch,
    OrdersLookedUp,
    OrdersSubmitted,
    RefusalCode,
    SendingRound,
    decode_block,
    encode_block,
)
from gateways.brokers.ledger.accounts import AccountNumbers
from gateways.brokers.ledger.ledger import Ledger, LedgerFrame
from gateways.brokers.ledger.records import (
    MESSAGE_TAG,
    RECORD_HEADER,
    AccountsFiled,
    CancelsTaken,
    ClusterSeen,
    EpochSeen,
    FrameDraft,
    FramesKept,
    LedgerError,
    LedgerOpened,
    OrdersReopened,
    OrdersTaken,
    PublishConfirmed,
    RoundSeen,
    record_type,
    walk_records,
)
from gateways.brokers.program.check_block import check_block
from gateways.brokers.program.epochs import BlockRefusal, HighestSeen, round_of
from gateways.brokers.program.history import LedgerHistory
from gateways.brokers.program.reports import Message, Reports
from gateways.brokers.program.settings import ProgramSettings
from gateways.brokers.program.taken_orders import TakenOrders, taken_of
from gateways.brokers.program.turn import Turn, TurnResult
from gateways.brokers.program.unconfirmed import UnconfirmedMessages
from gateways.brokers.program.venue import Venue

_REFUSAL_LENGTH_MAX = 1000
R = TypeVar("R")


class ProgramCore:
    """Everything that a program knows and its venue does not, rebuilt from the ledger."""

    def __init__(
        self, settings: ProgramSettings, ledger: Ledger, venue: Venue, *, new_ledger_id: str
    ) -> None:
        """Read the whole ledger; a new one gets `new_ledger_id`. Raises: LedgerError."""
        self._settings = settings
        self._ledger = ledger
        self._venue = venue
        self._highest = HighestSeen()
        self._accounts = AccountNumbers()
        self._history = LedgerHistory()
        self._ledger_id = ""
        self._orders = TakenOrders(ledger, refuses_repeats=settings.order_ids == "refused")
        self._newly_confirmed: dict[int, int] = {}
        self._unconfirmed = UnconfirmedMessages()
        self._reports = Reports("")
        for frame in ledger.replay():
            self._replay(frame)
        venue.replay_ended()
        draft = FrameDraft(ledger.end, ledger.next_number)
        if not self._reports.prefix:
            draft.add(LedgerOpened(settings.name, new_ledger_id))
            self._name_executions(new_ledger_id)
        self._turn = Turn(draft, self._reports)

    def take(self, block: bytes, now_ns: int) -> bytes:
        """Take one block, or refuse it whole. Returns: the answer, to be sent after the next
        commit.
        """
        try:
            sections = [
                section
                for section in decode_block(block)
                if not isinstance(section, UnknownSection)
            ]
        except (SectionError, ValueError, OverflowError, MemoryError) as error:
            return _refused(BlockRefusal(str(error)))
        refusal = self._refusal(sections)
        if refusal is not None:
            return _refused(refusal)
        header: GatewayEpoch = sections[0]
        for record in self._highest.see(header, round_of(sections)):
            self._turn.record(record)
        return self._apply(header, sections[1:], now_ns)

    def _refusal(self, sections: list[Any]) -> BlockRefusal | None:
        refusal = self._highest.refusal(sections)
        if refusal is None:
            text = check_block(
                sections, self._accounts, answers_look_ups=self._settings.order_ids != "unchecked"
            )
            refusal = BlockRefusal(text) if text else None
        return refusal

    def _apply(self, header: GatewayEpoch, sections: list[Any], now_ns: int) -> bytes:
        accepted = repeated = 0
        found: list[Any] = []
        if all(isinstance(section, SendingRound) for section in sections):
            # An introduction: the gateway compares its journals with this ledger.
            found = list(self._history.stated(self._ledger_id, self._reports))
        for section in sections:
            if isinstance(section, OrdersSubmitted):
                taken = self._take_orders(section, header, now_ns)
                accepted += taken
                repeated += len(section.subscriptions) - taken
            elif isinstance(section, AccountsRegistered):
                self._register(section)
            elif isinstance(section, CancelsSubmitted):
                self._cancel(section, header, now_ns)
            elif isinstance(section, OrdersLookedUp):
                found.append(self._orders.look_up(section))
            elif isinstance(section, FramesSent):
                for record in self._history.see(section):
                    self._turn.record(record)
        return encode_block(BlockAnswered(accepted, repeated, "", RefusalCode.NONE), *found)

    def within(self, work: Callable[[Turn, int], R], now_ns: int) -> R:
        """Do a piece of the venue's work within this turn."""
        return work(self._turn, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let the venue do what is due by wall time."""
        self._venue.advance(now_ns, self._turn)

    @property
    def is_full(self) -> bool:
        """True when this turn should end before more is taken."""
        return self._turn.is_full

    def next_due_ns(self) -> int | None:
        """Return when `advance` has something to do, None when nothing is open."""
        return self._venue.next_due_ns()

    def confirm(self, message: Message, sequence: int = 0) -> None:
        """Note that JetStream holds a message, at a sequence if that is known; the next frame says
        so.
        """
        self._newly_confirmed[message.follower_shard] = message.last
        self._history.confirm(message.follower_shard, message.last, sequence)

    def end_turn(self) -> TurnResult:
        """End the turn. Its frame must be appended whole, then `committed` called, before the next
        turn.
        """
        result = self._turn.end(self._newly_confirmed, self._history.confirmed_sequence)
        self._newly_confirmed.clear()
        return result

    def committed(self) -> None:
        """Begin the next turn: the frame of the last one is in the ledger."""
        self._orders.committed()
        self._turn = Turn(FrameDraft(self._ledger.end, self._ledger.next_number), self._reports)

    def unconfirmed(self) -> list[Message]:
        """Return, once after a restart, the messages of the ledger that JetStream may not hold, in
        order.
        """
        return self._unconfirmed.take()

    def message_id(self, message: Message) -> str:
        """Return a message's id for JetStream's duplicate check."""
        return self._reports.message_id(message)

    def statistics(self) -> dict[str, int]:
        """Return counts of what is kept."""
        return {
            "orders_taken": self._orders.count,
            "spans_kept": self._orders.spans_count,
            "epoch": self._highest.epoch,
        }

    def _register(self, section: AccountsRegistered) -> None:
        if self._accounts.has_new(section.follower_shard, section.first, section.ids):
            self._accounts.add(section.follower_shard, section.first, section.ids)
            self._turn.record(AccountsFiled(section.follower_shard, section.first, section.ids))

    def _take_orders(self, orders: OrdersSubmitted, header: GatewayEpoch, now_ns: int) -> int:
        taken = taken_of(orders, header, now_ns, self._orders.fresh_rows(orders))
        if len(taken.subscriptions):
            self._orders.add(taken, self._turn.record(taken))
            self._venue.place(taken, now_ns, self._turn)
        return len(taken.subscriptions)

    def _cancel(self, cancels: CancelsSubmitted, header: GatewayEpoch, now_ns: int) -> None:
        if len(cancels.subscriptions):
            self._turn.record(_cancels_taken(cancels))
            self._venue.cancel(cancels, header.event_time, now_ns, self._turn)

    def _name_executions(self, ledger_id: str) -> None:
        self._ledger_id = ledger_id
        self._reports = Reports(f"{self._settings.name}-{ledger_id}-")

    def _replay(self, frame: LedgerFrame) -> None:
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
                self._check_owner(record)
                self._name_executions(record.ledger_id)
            case ClusterSeen() | EpochSeen() | RoundSeen():
                self._highest.replay(record)
            case AccountsFiled():
                self._accounts.add(record.follower_shard, record.first, record.ids)
            case PublishConfirmed():
                self._unconfirmed.confirm(record)
                self._history.replay(record)
            case FramesKept():
                self._history.replay(record)
            case OrdersTaken() if not isinstance(record, OrdersReopened):
                self._orders.replay(record, offset)
                self._venue.replay_record(record)
            case _:
                self._venue.replay_record(record)

    def _replay_message(self, offset: int, body: memoryview) -> None:
        reports = decode_block(body)
        for report in reports:
            self._venue.replay_report(report)
        shard = reports[0].follower_shard
        first, last = int(reports[0].numbers[0]), int(reports[-1].numbers[-1])
        self._reports.last_numbers[shard] = last
        self._unconfirmed.add(Message(shard, first, last, offset, len(body), None))

    def _check_owner(self, opened: LedgerOpened) -> None:
        if opened.broker != self._settings.name:
            raise LedgerError(
                f"ledger: expected broker {self._settings.name!r}, found {opened.broker!r}'s ledger"
            )


def _cancels_taken(cancels: CancelsSubmitted) -> CancelsTaken:
    return CancelsTaken(
        cancels.follower_shard,
        cancels.cause_kinds,
        cancels.creator_shards,
        cancels.cause_numbers,
        cancels.subscriptions,
        cancels.legs,
        cancels.attempts,
    )


def _refused(refusal: BlockRefusal) -> bytes:
    text = refusal.text[:_REFUSAL_LENGTH_MAX]
    return encode_block(BlockAnswered(0, 0, text, refusal.code))
