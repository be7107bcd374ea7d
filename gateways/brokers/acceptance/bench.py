"""The suite's side of the conversation: it makes orders, sends blocks and waits, as a gateway
does.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from actors.deadline import came_within
from engine.columns.section_types import SectionError
from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    ExecutionsStated,
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
from engine.values.ids import SHARDS_MAX
from engine.values.order_ids import OrderId, OrderKey
from gateways.brokers.acceptance.broken import Broken, expect
from gateways.brokers.acceptance.formats import Format, format_of
from gateways.brokers.acceptance.history import History, ids_of
from gateways.brokers.acceptance.program import BrokerProgram, Sent
from gateways.brokers.acceptance.reported import OrderReport, Reported

ACCOUNTS = 64
"""Accounts that every shard has, numbered from 0."""
SHARDS = (0, 1)
_MS_PER_CAUSE = 62
"""Cause numbers have 36 bits, so that 16 per second last for a century."""
_POLL_S = 0.02
_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


class SuiteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The suite's options."""

    order_ids: str = "refused"
    """As `brokers.<name>.order_ids` in Lockstep's configuration."""
    format: str = "binary"
    """As `brokers.<name>.format` in Lockstep's configuration."""
    symbol: str = "AAPL"
    price: int = 100_000_000
    """The mark of every order, micros."""
    answer_s: float = 5.0
    """Seconds that an answer may take."""
    lifetime_s: float = 2.0
    """Seconds from an order's making to its expiry."""
    settle_s: float = 15.0
    """Seconds that the end of an order may take beyond its expiry."""
    start_s: float = 30.0
    """Seconds that the program may take to start."""
    kills: int = 10
    """Number of kills in each of two rules about restarts."""
    seed: int = 1
    """Changes the moments of the kills."""
    cluster: str = "acceptance"
    """The cluster that the suite speaks for, the same in each run: a program keeps the first."""


class BlockAnswer(NamedTuple):
    """A program's answer to one block."""

    accepted: int
    repeated: int
    refusal: str
    known: list[OrdersKnown]
    code: int = RefusalCode.NOT_STATED
    stated: HistoryStated | None = None
    """The history in the program's ledger, None where it states none."""
    executions: tuple[ExecutionsStated, ...] = ()


class Bench:
    """One run against one program. Order ids and epochs are new in every run, so that a program may
    keep its ledger.
    """

    def __init__(self, program: BrokerProgram, options: SuiteOptions) -> None:
        self.program = program
        self.options = options
        self._format = format_of(options.format)
        self.history = History()
        self.reported = Reported(self.history)
        self.sent: list[Sent] = []
        self.epoch = time.time_ns() // _NS_PER_MS
        self.round = 0
        self.is_lost = False
        """The program does not answer any more."""
        self._cause = self.epoch // _MS_PER_CAUSE
        self._creator_shard = secrets.randbelow(SHARDS_MAX)
        self._frame = 0

    # Making sections.

    def orders(self, rows: Iterable[int], **changes: Any) -> OrdersSubmitted:
        """Make an orders section of a cause of its own; `rows` are subscriptions."""
        self._cause += 1
        self._frame += 1
        subscriptions = np.array(list(rows), np.int64)
        now_ns = time.time_ns()
        fields: dict[str, Any] = {
            "follower_shard": 0,
            "frame": self._frame,
            "key": OrderKey(0, self._creator_shard, self._cause, 0, 0),
            "symbol": self.options.symbol,
            "side": 1,
            "price": self.options.price,
            "limit_price": self.options.price + self.options.price // 200,
            "expire_time": now_ns + int(self.options.lifetime_s * _NS_PER_S),
            "subscriptions": subscriptions,
            "accounts": subscriptions % ACCOUNTS,
            "quantities": np.full(len(subscriptions), 100_000_000, np.int64),
        }
        return OrdersSubmitted(**fields | changes)

    def accounts(self, shard: int = 0) -> AccountsRegistered:
        """Make the section that registers a shard's accounts."""
        return AccountsRegistered(shard, 0, [account_id(shard, n) for n in range(ACCOUNTS)])

    def cancels(self, *orders: OrdersSubmitted) -> CancelsSubmitted:
        """Make a section that cancels the orders of some sections of one shard."""
        ids = [order for section in orders for order in ids_of(section)]
        columns = [
            np.array(values, np.int64)
            for values in (
                [order.cause_kind for order in ids],
                [order.creator_shard for order in ids],
                [order.cause_number for order in ids],
                [order.subscription for order in ids],
                [order.leg for order in ids],
                [order.attempt for order in ids],
            )
        ]
        return CancelsSubmitted(orders[0].follower_shard, *columns)

    def look_up(self, orders: OrdersSubmitted) -> OrdersLookedUp:
        """Make a section that asks after the orders of another."""
        return OrdersLookedUp(
            orders.follower_shard,
            orders.key,
            orders.subscriptions,
        )

    def block(self, *sections: Any, epoch: int | None = None, round: int | None = None) -> bytes:
        """Encode a block as a gateway sends it to a program of this `order_ids`."""
        header: list[Any] = [
            GatewayEpoch(
                self.epoch if epoch is None else epoch, time.time_ns(), self.options.cluster
            ),
        ]
        if self.options.order_ids == "looked_up":
            header.append(SendingRound(self.round if round is None else round))
        return encode_block(*header, *sections)

    # Talking.

    async def hand_over(self, block: bytes, sections: Iterable[Any] = ()) -> Sent:
        """Send a block and do not wait. `sections` are those whose orders may be taken."""
        self.history.note_sent(sections)
        sent = await self.program.send(self._format.message(block))
        sent.block = block
        self.sent.append(sent)
        return sent

    async def answer_to(
        self, sent: Sent, sections: Iterable[Any] = (), *, within_s: float | None = None
    ) -> BlockAnswer | None:
        """Wait for the answer to a block. Returns: None when none came in time. Raises: Broken when
        it cannot be read.
        """
        seconds = self.options.answer_s if within_s is None else within_s
        if not await came_within(sent.arrived.wait(), seconds) or not sent.answers:
            return None
        answer = read_answer(self._format, sent)
        self.history.note_answer(sections, is_refused=bool(answer.refusal))
        return answer

    async def ask_raw(self, block: bytes, sections: Iterable[Any] = ()) -> BlockAnswer:
        """Send bytes and wait for the answer. Raises: Broken when none comes."""
        sections = list(sections)
        answer = await self.answer_to(await self.hand_over(block, sections), sections)
        if answer is None:
            raise Broken(f"an answer within {self.options.answer_s} s", "none")
        return answer

    async def ask(
        self, *sections: Any, epoch: int | None = None, round: int | None = None
    ) -> BlockAnswer:
        """Send sections and wait for the answer. Raises: Broken when none comes."""
        return await self.ask_raw(self.block(*sections, epoch=epoch, round=round), sections)

    async def place(self, *orders: OrdersSubmitted) -> None:
        """Send orders that are new and well formed. Raises: Broken unless all are accepted."""
        expect_accepted(await self.ask(*orders), sum(len(each.subscriptions) for each in orders))

    async def make_ready(self) -> None:
        """Introduce the gateway and register its accounts, as often as it takes; start the program
        again if it does not answer. Raises: Broken when it never does, after which `is_lost`.
        """
        if await self._introduce(self.options.answer_s):
            return
        if self.program.can_restart:
            await self.program.kill()
            await self.program.start()
        if not await self._introduce(self.options.start_s):
            self.is_lost = True
            raise Broken(
                f"an answer to a block of a GatewayEpoch alone within {self.options.start_s} s",
                "none",
            )

    async def restart(self, first: bytes | None = None) -> BlockAnswer:
        """Start a program that was killed, and send it a block until it answers, an introduction
        unless told otherwise. Returns: the answer. Raises: Broken.
        """
        await self.program.start()
        until = time.monotonic() + self.options.start_s
        while time.monotonic() < until:
            sent = await self.hand_over(first or self.block())
            answer = await self.answer_to(sent, within_s=min(1.0, self.options.start_s))
            if answer is not None:
                return answer
            await asyncio.sleep(_POLL_S)
        raise Broken(f"an answer within {self.options.start_s} s of the restart", "none")

    async def kill_and_restart(self, first: bytes | None = None) -> BlockAnswer:
        """Kill the program, then `restart` it. Raises: Broken."""
        await self.program.kill()
        return await self.restart(first)

    async def _introduce(self, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for block in ([], [self.accounts(shard) for shard in SHARDS]):
                sent = await self.hand_over(self.block(*block))
                answer = await self.answer_to(sent, within_s=min(1.0, within_s))
                if answer is None:
                    break
                expect(not answer.refusal, "an introduction without a refusal", answer.refusal)
            else:
                return True
            await asyncio.sleep(_POLL_S)
        return False

    # Executions.

    async def reports(self) -> dict[OrderId, OrderReport]:
        """Return what became of every order so far."""
        self.reported.read(await self.program.stored())
        return self.reported.orders

    def is_over(self, order: OrderId) -> bool:
        """Return whether an order has ended, by what was read so far."""
        report = self.reported.orders.get(order)
        quantity = self.history.terms[order].quantity
        return report is not None and bool(report.ends or report.filled >= quantity)

    async def wait_ended(self, *sections: OrdersSubmitted) -> None:
        """Wait until every order of some sections has ended. Raises: Broken when one has not in
        time.
        """
        await self.wait_over([order for section in sections for order in ids_of(section)])

    async def wait_over(self, orders: list[OrderId]) -> None:
        """Wait until orders have ended. Raises: Broken when one has not in time."""
        until = time.monotonic() + self.options.lifetime_s + self.options.settle_s
        while True:
            await self.reports()
            left = [order for order in orders if not self.is_over(order)]
            if not left:
                return
            if time.monotonic() > until:
                raise Broken(
                    "every order filled, expired, canceled or rejected within "
                    f"{self.options.settle_s} s of its expiry",
                    f"{len(left)} of {len(orders)} still open, first {left[0]}",
                )
            await asyncio.sleep(_POLL_S)


def account_id(shard: int, number: int) -> str:
    """Return the id of one of the suite's accounts."""
    return f"acceptance-{shard}-{number}"


def read_answer(format: Format, sent: Sent) -> BlockAnswer:
    """Read the first answer. Raises: Broken when it is none."""
    try:
        first, *rest = decode_block(format.answer(sent.block, sent.answers[0]))
    except (SectionError, ValueError) as error:
        raise Broken("an answer as the protocol says", str(error)) from error
    expect(isinstance(first, BlockAnswered), "BlockAnswered first", type(first).__name__)
    known = [each for each in rest if isinstance(each, OrdersKnown)]
    stated = [each for each in rest if isinstance(each, HistoryStated)]
    executions = [each for each in rest if isinstance(each, ExecutionsStated)]
    strangers = len(rest) - len(known) - len(stated) - len(executions)
    expect(not strangers, "only sections of an answer behind BlockAnswered", rest)
    expect(len(stated) <= 1, "at most one HistoryStated", len(stated))
    return BlockAnswer(
        first.accepted,
        first.repeated,
        first.refusal,
        known,
        first.code,
        stated[0] if stated else None,
        tuple(executions),
    )


def expect_accepted(answer: BlockAnswer, accepted: int, repeated: int = 0) -> None:
    """Raise Broken unless an answer accepts so many orders."""
    expect(
        (answer.accepted, answer.repeated, answer.refusal) == (accepted, repeated, ""),
        f"{accepted} accepted, {repeated} repeated, no refusal",
        f"{answer.accepted} accepted, {answer.repeated} repeated, refusal {answer.refusal!r}",
    )


def expect_refused(answer: BlockAnswer, code: RefusalCode | None = None) -> None:
    """Raise Broken unless an answer refuses its block whole, for the reason of a code. A program
    without codes says the reason with the first word of its refusal.
    """
    word = _WORDS.get(code, "") if answer.code == RefusalCode.NOT_STATED else ""
    is_of_code = code is None or answer.code in (code, RefusalCode.NOT_STATED)
    reason = f" with code {code.value}" if code is not None else ""
    expect(
        answer.accepted == answer.repeated == 0
        and bool(answer.refusal)
        and is_of_code
        and answer.refusal.startswith(word),
        f"0 accepted, 0 repeated, a refusal{reason}",
        f"{answer.accepted} accepted, {answer.repeated} repeated, code {answer.code}, "
        f"refusal {answer.refusal!r}",
    )


_WORDS: dict[RefusalCode | None, str] = {RefusalCode.EPOCH: "epoch", RefusalCode.ROUND: "round"}
