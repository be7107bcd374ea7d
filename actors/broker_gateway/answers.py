"""What a broker's answers mean for the sections that were sent to it.

An answer must count every order of its block, or it is taken for no answer. A refusal may be about
the sender: the epoch, the round or the cluster. Then everything waits for a new introduction
(`actors.broker_gateway.introduction`). Any other refusal of a single section is final.

    accepted, counted     the broker has the orders
    accepted, miscounted  sent again, looked up, or unresolved, by what the broker does with ids
    refused for sender    waits for the introduction, then goes again, or the refusal was final
    refused               each section goes again by itself; the refusal of a single one is final
    no answer             looked up or unresolved
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from actors.broker_gateway.again import SectionsAgain
from actors.broker_gateway.introduction import Introduction
from actors.broker_gateway.outcomes import OrderOutcomes
from actors.broker_gateway.refusals import is_of_round, is_of_sender
from actors.broker_gateway.trouble import BrokerTrouble
from actors.broker_gateway.unresolved import UnresolvedSections
from actors.settings import OrderIds
from actors.shard.core import ShardCore
from engine.broker_gateway.outbound import OutboundSection, orders_count
from engine.broker_gateway.queue import DispatchQueue
from engine.broker_gateway.shard import GatewayShard
from engine.columns.section_types import Column
from engine.messages.blocks import BlockAnswered, OrdersSubmitted, RefusalCode
from engine.values.order_status import ExecType

_log = structlog.get_logger()

AGAIN_S_MIN = 0.2
AGAIN_S_MAX = 5.0
"""Bounds of the pause before a miscounted section goes again; it doubles each time."""
MISCOUNTS_MAX = 5
"""After so many answers that did not count its orders, a section is unresolved."""
REFUSED_IN_A_ROW = 3
"""So many blocks refused in a row, and none accepted, are a trouble of the gateway."""


class Answer(NamedTuple):
    """A broker's answer to a block. `is_first` says that the block had been sent only once, ever
    if this owner is the first to send it.
    """

    answered: BlockAnswered
    is_first: bool


class SentBlock(NamedTuple):
    """A block on its way, the round it was sent under, and the task that waits for its answer. The
    task returns None when there was no answer and the block must not go again.
    """

    sections: list[OutboundSection]
    round: int
    task: "asyncio.Task[Answer | None]"


class DoubtedBlock(NamedTuple):
    """A block that was refused for its sender. It waits for a new introduction."""

    sections: list[OutboundSection]
    answered: BlockAnswered


class SectionAnswers:
    """The answers of the broker called `name` to one owner."""

    def __init__(
        self,
        core: ShardCore,
        state: GatewayShard,
        queue: DispatchQueue,
        outcomes: OrderOutcomes,
        introduction: Introduction,
        trouble: BrokerTrouble,
        unresolved: UnresolvedSections,
        *,
        name: str,
    ) -> None:
        self._core = core
        self._state = state
        self._queue = queue
        self._outcomes = outcomes
        self._introduction = introduction
        self._trouble = trouble
        self._unresolved = unresolved
        self._name = name
        self._order_ids = core.settings.order_ids.get(name, OrderIds.REFUSED)
        self.again = SectionsAgain()
        """Sections to be sent again."""
        self._doubted: list[DoubtedBlock] = []
        self._asked: list[OutboundSection] = []
        self._refused_in_a_row = 0

    @property
    def waiting_count(self) -> int:
        """The number of doubted blocks, and of sections to send again."""
        return len(self._doubted) + len(self.again)

    def take(self, sent: SentBlock) -> None:
        """Take the outcome of a block whose task is done."""
        answer = sent.task.result()
        if answer is None:
            for section in sent.sections:
                self.take_unanswered(section)
        elif answer.answered.refusal:
            self._take_refused(sent, answer.answered)
        else:
            self._take_accepted(sent.sections, answer)

    def _take_accepted(self, sections: list[OutboundSection], answer: Answer) -> None:
        """Take an answer without a refusal. It must count every order of the block."""
        orders, answered = orders_count(sections), answer.answered
        if not self._counts(answered, orders):
            self._take_miscounted(sections, answered, orders)
            return
        self._refused_in_a_row = 0
        self._introduction.block_accepted()
        if self._introduction.is_done:
            self._trouble.end()
        if orders and answered.repeated and answer.is_first and self._is_unsent(sections):
            self._introduction.halt(
                f"expected {orders} orders that were never sent before to be new, found "
                f"{answered.repeated} of them repeated; its ledger belongs to another history"
            )
            for section in sections:
                self.again.add(section)
            return
        if self._introduction.ledger and answered.code != RefusalCode.NOT_STATED:
            self._outcomes.take_frames(self._introduction.ledger, sections)
        for section in sections:
            self._outcomes.end(section)

    def _counts(self, answered: BlockAnswered, orders: int) -> bool:
        """Return whether an answer counts the orders of its block."""
        accepted, repeated = answered.accepted, answered.repeated
        return not orders or (min(accepted, repeated) >= 0 and accepted + repeated == orders)

    def _is_unsent(self, sections: list[OutboundSection]) -> bool:
        """Return whether no owner can have sent any of these sections before."""
        after = self._introduction.unsent_after
        return after is not None and all(section.sequence > after for section in sections)

    def _take_miscounted(
        self, sections: list[OutboundSection], answered: BlockAnswered, orders: int
    ) -> None:
        """Take an answer that cannot be right: it says nothing of any order."""
        _log.error(
            "answer_mismatch",
            broker=self._name,
            expected=f"{orders} orders accepted or repeated",
            found=f"{answered.accepted} accepted, {answered.repeated} repeated",
            alarm=True,
        )
        self._core.counts.answers_mismatched += 1
        for section in sections:
            if self._order_ids is not OrderIds.REFUSED or not isinstance(
                section.body, OrdersSubmitted
            ):
                self.take_unanswered(section)
                continue
            section.miscounts += 1
            if section.miscounts > MISCOUNTS_MAX:
                self._outcomes.leave_unresolved(section)
            else:
                pause_s = min(AGAIN_S_MIN * 2**section.miscounts, AGAIN_S_MAX)
                self.again.add(section, pause_s=pause_s)

    def _take_refused(self, sent: SentBlock, answered: BlockAnswered) -> None:
        """Take a refusal: the broker took nothing of the block."""
        is_late = is_of_round(answered) and sent.round < self._unresolved.round
        if is_of_sender(answered) and not is_late:
            self._doubted.append(DoubtedBlock(sent.sections, answered))
            self._introduction.again(answered.refusal)
        elif is_late or len(sent.sections) > 1:
            # Each section goes again by itself, so that a refusal meets only the section it is for.
            for section in sent.sections:
                self.again.add(section)
        else:
            self._take_final_refusal(sent.sections[0], answered.refusal)

    def take_doubted(self) -> None:
        """Take blocks that were refused for their sender, once the broker has accepted the sender.
        A text without a code was then about the section.
        """
        if not self._doubted or not self._introduction.is_done:
            return
        doubted, self._doubted = self._doubted, []
        for sections, answered in doubted:
            if answered.code == RefusalCode.NOT_STATED and len(sections) == 1:
                self._take_final_refusal(sections[0], answered.refusal)
            else:
                for section in sections:
                    self.again.add(section)

    def _take_final_refusal(self, section: OutboundSection, refusal: str) -> None:
        self._take_refusal(section, refusal)
        self._outcomes.end(section)
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= REFUSED_IN_A_ROW:
            self._trouble.tell("broker_refuses", f"refuses every block: {refusal}")

    def _take_refusal(self, section: OutboundSection, refusal: str) -> None:
        """Report a section's orders as rejected: the broker's refusal of them is final."""
        _log.error(
            "block_refused", broker=self._name, orders=section.count, refusal=refusal, alarm=True
        )
        self._core.counts.blocks_refused += 1
        if isinstance(section.body, OrdersSubmitted):
            self._outcomes.revoke(section, ExecType.REJECTED)

    # What left and was not answered.

    def take_submitted(self, section: OutboundSection, made_for: Column) -> OutboundSection:
        """Take the orders that a former owner sent, and the broker did not answer, out of a section
        that was made for some subscriptions. Returns: the rest.
        """
        left, rest = self._state.submissions.split(section, made_for)
        for unanswered in left:
            self._queue.hold(unanswered)
            self.take_unanswered(unanswered)
        return rest

    def take_unanswered(self, section: OutboundSection) -> None:
        """Take a section that left and was not answered. Only the broker knows whether it has
        it.
        """
        if not isinstance(section.body, OrdersSubmitted):
            # To register an account again changes nothing, nor does a second cancel.
            self.again.add(section)
            return
        self._core.counts.orders_unanswered += section.count
        if self._order_ids is OrderIds.LOOKED_UP:
            self._unresolved.add(section)
        else:
            self._outcomes.leave_unresolved(section)
            self._unresolved.probe()

    def take_found(self) -> None:
        """Take the broker's word on unresolved sections. Orders it has are answered. The others
        will never arrive.
        """
        for section, known in self._unresolved.take_found():
            if not known.all():
                self._outcomes.revoke(section.of_rows(~known), ExecType.REJECTED)
            if not section.is_asked:
                self._outcomes.end(section)
            elif known.any():
                self._asked.append(section.of_rows(known))

    # Asking about orders that were answered.

    @property
    def look_up(self) -> Callable[[OutboundSection], None] | None:
        """Takes orders that the broker answered, to ask whether it knows them. None where the
        broker answers no look-ups.
        """
        return self._unresolved.add if self._order_ids is OrderIds.LOOKED_UP else None

    def take_known(self) -> list[OutboundSection]:
        """Take the orders asked about that the broker knows."""
        known, self._asked = self._asked, []
        return known
