"""The introduction of a gateway's owner to its broker, from which on the broker refuses the former
owner's blocks (P5).

    introducing --accepted, histories agree--> done --the broker refuses who sends--> introducing
         |
         `--its own journal has a higher epoch--> lost

Nothing is sent until the introduction is done. While the broker refuses it, or its ledger
contradicts the journals, the gateway shows trouble, and tries again until that is mended. A program
may be started anew on an older ledger. So the owner introduces itself again after a block without
an answer, and every `RENEWED_S`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from actors.backoff import Backoff
from actors.broker_gateway.histories import Histories, stated_in
from actors.broker_gateway.registrations import registrations
from actors.broker_gateway.trouble import BrokerTrouble
from actors.errors import OperatingError, ShardLostError
from actors.journal.reading import epoch_of, newest_frame
from actors.retry import retry_until_done
from actors.shard.core import ShardCore
from engine.broker_gateway.shard import GatewayShard
from engine.columns.section_types import SectionError
from engine.messages.blocks import BlockAnswered

_log = structlog.get_logger()

AGAIN_S_MIN = 0.2
AGAIN_S_MAX = 5.0
RENEWED_S = 10.0
BELIEVED_MAX = 2
"""After so many introductions that were accepted while blocks were refused for their sender, that
is a trouble, and it stays until a block is accepted. The first refusals may mean a new owner.
"""

Ask = Callable[..., Awaitable[list[Any]]]
"""Hands sections to the broker, behind those that name the sender. Returns: the answer's
sections.
"""
WHAT_TO_DO = (
    "; orders wait. Restore the cluster and the broker's ledger from copies of the same moment, or "
    "give the broker program a new ledger, set brokers.{name}.accepted_ledger to its name, and "
    "settle by hand what the old one held"
)


class Introduction:
    """The introduction of one owner to the broker called `name`.

    `is_journaled` says that submissions are journaled before they leave. Such an owner knows which
    orders its predecessor sent.
    """

    def __init__(
        self,
        core: ShardCore,
        state: GatewayShard,
        name: str,
        ask: Ask,
        trouble: BrokerTrouble,
        *,
        is_journaled: bool,
    ) -> None:
        self._core = core
        self._state = state
        self._name = name
        self._ask = ask
        self._trouble = trouble
        self._is_journaled = is_journaled
        accepted = core.settings.accepted_ledgers.get(name, "")
        self._histories = Histories(state, core.ports, name, accepted=accepted)
        self._introducing: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._stream = ""
        self._agains = 0
        self._again_backoff = Backoff(AGAIN_S_MIN, AGAIN_S_MAX)
        self._lost = ""
        self._is_halted = False
        self._contradicted = ""
        self._is_unstated = False
        self._accepted = asyncio.Event()
        self.ledger = ""
        """The name of the broker's ledger, empty where it states no history."""
        self.unsent_after: int | None = 0 if is_journaled else None
        """Orders stored after this sequence have not left while they are queued. None until it is
        known how far the former owner may have sent.
        """

    @property
    def is_done(self) -> bool:
        """True once the broker has heard of this owner, and takes what it sends."""
        return self._accepted.is_set()

    def begin(self, stream: str) -> None:
        """Begin to tell the broker of this owner. Its orders come from a stream."""
        self._stream = stream
        self._start(0.0)
        self._renewing = asyncio.create_task(self._renew(), name=f"renewals to {self._name}")

    def again(self, refusal: str) -> None:
        """Introduce this owner again: the broker refused a block because of who sent it."""
        if not self.is_done:
            return
        self._accepted.clear()
        self._agains += 1
        if self._agains > BELIEVED_MAX:
            self._trouble.tell("broker_refuses", f"refuses blocks: {refusal}")
        self._start(self._again_backoff.next_s())

    def renew(self) -> None:
        """Introduce this owner again: the broker's program may have been started anew."""
        if self.is_done:
            self._accepted.clear()
            self._start(0.0)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_S)
            self.renew()

    def block_accepted(self) -> None:
        """Note that the broker takes blocks of this owner."""
        if self._agains:
            self._agains = 0
            self._again_backoff.reset()

    def halt(self, text: str) -> None:
        """Send nothing more under this owner: what the broker has is not what was sent to it."""
        self._is_halted = True
        self._accepted.clear()
        self._trouble.tell("history_contradicted", text + WHAT_TO_DO.format(name=self._name))

    def check(self) -> None:
        """Raise ShardLostError if the journal has a new owner, or what else ended the
        introduction.
        """
        if self._lost:
            raise ShardLostError(self._lost)
        if self._introducing is not None and self._introducing.done():
            self._introducing.result()

    async def wait(self) -> None:
        """Wait until the broker has heard of this owner, and takes what it sends."""
        await self._accepted.wait()

    async def close(self) -> None:
        """Stop telling it."""
        tasks = [each for each in (self._renewing, self._introducing) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, pause_s: float) -> None:
        self._introducing = asyncio.create_task(
            self._introduce(pause_s), name=f"introduction to {self._name}"
        )
        self._introducing.add_done_callback(lambda _: self._core.inputs.arrived.set())

    async def _introduce(self, pause_s: float) -> None:
        """Introduce this epoch to the broker, then find out how far the former owner may have sent.

        The former owner may have sent any order stored before the broker heard of this epoch. Only
        the broker can say what became of those. Later ones are unsent while they are queued.
        """
        await asyncio.sleep(pause_s)
        backoff = Backoff(AGAIN_S_MIN, AGAIN_S_MAX)
        while not await self._is_accepted():
            if self._lost:
                return
            await asyncio.sleep(backoff.next_s())
        if self.unsent_after is None:
            streams = self._core.ports.streams
            self.unsent_after = await retry_until_done(
                f"end of {self._stream}", lambda: streams.last_sequence(self._stream)
            )
        if self._is_halted:
            return
        if self._agains <= BELIEVED_MAX:
            self._trouble.end()
        self._accepted.set()

    async def _is_accepted(self) -> bool:
        """Introduce this epoch once, and compare histories. A broker that refuses the block has
        taken nothing of it. Returns: whether all is well.
        """
        try:
            answer, *stated = await self._ask()
            if answer.refusal:
                await self._take_refusal(answer)
                return False
            return await self._agrees(stated) and await self._registers()
        except (OperatingError, SectionError) as error:
            _log.warning("not_introduced", broker=self._name, error=str(error))
            return False

    async def _registers(self) -> bool:
        """Register all accounts with a ledger that an operator accepted in place of another: it
        knows none. Returns: whether it took them.
        """
        known = self._state.ledger
        if not known or not self.ledger or self.ledger == known:
            return True
        shards = sorted(self._state.views)
        async for section in registrations(self._core.ports.journal, shards, self._name):
            answer = (await self._ask(*section.bodies))[0]
            if answer.refusal:
                await self._take_refusal(answer)
                return False
        return True

    async def _take_refusal(self, answer: BlockAnswered) -> None:
        """Find out whether this owner is superseded; if not, an operator must come."""
        key, epoch = self._core.key, self._core.writer.epoch
        newest = await newest_frame(self._core.ports.journal, key)
        found = epoch_of(newest) if newest is not None else 0
        if found > epoch:
            self._lost = f"{key}: epoch {found} has taken over from epoch {epoch}"
            return
        text = f"refuses the introduction: {answer.refusal}"
        self._trouble.tell("broker_refuses", text)

    async def _agrees(self, sections: list[Any]) -> bool:
        """Compare what a broker states with the journals. Returns: whether they agree."""
        stated = stated_in(sections)
        if stated is None:
            if not self._is_unstated:
                _log.info("history_not_stated", broker=self._name)
            self._is_unstated = True
            self.ledger = ""
            return True
        text = await self._histories.contradiction(stated)
        if text and self._contradicted:
            text += WHAT_TO_DO.format(name=self._name)
            self._trouble.tell("history_contradicted", text)
        self._contradicted = text
        self.ledger = stated.history.ledger
        return not text
