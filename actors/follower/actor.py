"""A follower shard's actor: signals, executions and commands in; dispositions, orders and answers
out.

One turn takes executions first, then the next part of the signal under way, then commands, then
follow-ups that are due. Everything it decides goes into one frame. If it took executions alone,
they are held for the next frame (`actors.follower.held_executions`).

Orders leave through the journal itself: the broker gateway reads them there, so none can leave
before its frame is durable (P3). Creator frames are decided in their journal's order, part by part,
so each subscription sees its creator's signals in order (P4). After crashes each message, part and
command is decided alone (`actors.shard.careful`).
"""

import asyncio
import time
from typing import Any

from actors.counters import Counters
from actors.follower.command_inbox import CommandInbox
from actors.follower.commands import FollowerCommandTaker
from actors.follower.executions import ExecutionTaker
from actors.follower.held_executions import HeldExecutions
from actors.follower.order_lookup import OrderLookup
from actors.follower.signals import SignalTaker
from actors.ports import Ports
from actors.settings import ShardSettings
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.frame_budget import FrameBudget
from actors.shard.turn_gate import TurnGate
from engine.follower.decide.follow_ups import decide_due
from engine.follower.deciding import Deciding
from engine.follower.order_watch import OrderWatch
from engine.follower.shard import FollowerShard
from engine.journal.frame import ShardKey, ShardKind

PROGRESS_PER_S = 50
"""The rate of this shard's progress under load. It tells when positions are durable; that of other
kinds only shows the readers of their journals that they are behind.
"""


class FollowerShardActor:
    """One follower shard."""

    def __init__(
        self,
        shard: int,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        gate: TurnGate | None = None,
    ) -> None:
        self.shard = FollowerShard(shard)
        self.state = self.shard.state
        self.core = ShardCore(
            self,
            ShardKey(ShardKind.FOLLOWER, shard),
            incarnation,
            ports,
            settings,
            self.shard,
            gate,
            progress_per_s=PROGRESS_PER_S,
        )
        self.inbox = CommandInbox(
            ports.journal,
            creator_shards=settings.creator_shards,
            commands_max=settings.inbox_commands_max,
            arrived=self.core.inputs.arrived,
        )
        self.lookup = OrderLookup(self.core)
        self.watch = OrderWatch(
            {name: settings.answer_ns_max(name) for name in settings.answer_s_max},
            settings.answer_ns_max(""),
        )
        self.executions = ExecutionTaker(self.core, self.shard, self.lookup, self.watch, self._now)
        self.signals = SignalTaker(self.core, self.shard, self.lookup, self._now)
        self.commands = FollowerCommandTaker(
            self.core, self.shard, self.inbox, self.lookup, self._now
        )
        self.held = HeldExecutions(settings, self.core.inputs.arrived)
        self._settings = settings
        self._accounts_seen = 0
        self._dedicated_shards: tuple[int, ...] = ()

    async def start(self) -> None:
        """Recover, then read creator journals and executions from where the state stands."""
        await self.core.recover()
        await self.signals.open()
        await self.executions.open()
        await self.signals.open_progress()

    async def close(self) -> None:
        """Stop reading."""
        self.held.close()
        await self.lookup.close()
        await self.executions.close()
        await self.signals.close()
        await self.inbox.close()

    def _now(self) -> int:
        return self.core.event_time.next_ns(max(self.signals.inputs_ns, self.executions.inputs_ns))

    # Turns.

    async def turn(self) -> None:
        """Decide a batch of everything that has arrived; send one frame, or hold executions for the
        next.
        """
        if self.core.careful.is_on:
            await self._turn_carefully()
            return
        held, events = self.held, self.held.events
        # Half a frame each, so that neither a flood of executions nor one of signals keeps the
        # other waiting. A signal under way goes first: its later parts wait for nothing, and the
        # executions are of its own earlier ones.
        half = self._settings.frame_bytes_max // 2
        was_backlog, first = held.is_backlog, len(events)
        has_more = False
        if not self.signals.is_mid_signal:
            has_more = held.is_backlog = self.executions.take(events, held.budget)
        executed = len(events)
        has_more |= self.signals.take(events, FrameBudget(events, half))
        outputs: list[Output] = []
        if not self.signals.is_between_parts:
            outputs = await self.commands.take(events, self._whole_frame(events))
        has_more |= bool(outputs) | self._take_due(events, FrameBudget(events, half))
        self._ask_unanswered(events, FrameBudget(events, half))
        self.signals.watch(time.monotonic())
        if has_more:
            self.core.inputs.arrived.set()
        elif len(events) == executed and not was_backlog and self._may_wait(events[first:]):
            return
        if events or outputs:
            held.begin_frame()
            await self.core.commit(events, self._now(), outputs)
            await asyncio.sleep(0)

    def _may_wait(self, news: list[Any]) -> bool:
        """Return whether a turn that took nothing but executions sends no frame."""
        if self.signals.is_under_way or self.inbox.count:
            return False
        return self.held.may_wait(news)

    def _whole_frame(self, events: list[Any]) -> FrameBudget:
        return FrameBudget(events, self._settings.frame_bytes_max, of_all=True)

    async def _turn_carefully(self) -> None:
        """Take one message of executions, one part of a signal, the commands, and the follow-ups
        that are due, each alone.
        """
        await self.commands.quarantine_poison()
        if not self.signals.is_mid_signal:
            await self.executions.take_alone()
        await self.signals.take_alone()
        if not self.signals.is_under_way and not self.signals.is_between_parts:
            await self.commands.take_alone()
        events: list[Any] = []
        self._take_due(events, self._whole_frame(events))
        await self.core.alone.settle(events, self._now)
        self.signals.watch(time.monotonic())

    def _take_due(self, events: list[Any], budget: FrameBudget) -> bool:
        """Decide follow-ups that are due. Returns: whether more may be due."""
        first = len(events)
        deciding = Deciding(self.state, self._settings.policy, self._now())
        self.shard.apply_each(decide_due(deciding, is_full=lambda: budget.is_full), events)
        self.lookup.note(events[first:])
        return budget.is_full

    def _ask_unanswered(self, events: list[Any], budget: FrameBudget) -> None:
        """Ask about orders that their broker should have reported on. A replay takes its time from
        the inputs, and the broker's answers do not.
        """
        if not self._settings.uses_event_clock:
            asked = self.watch.ask(self.state, self._now(), lambda: budget.is_full)
            self.shard.apply_each(asked, events)

    # Hooks.

    def overlaps(self) -> bool:
        """A large shard decides its next part while the last one is being stored."""
        return self.signals.is_under_way

    def keeps_back(self) -> bool:
        """True while executions are held."""
        return bool(self.held.events)

    def count_into(self, counters: Counters) -> None:
        """Set the counters that are read from the state."""
        state = self.state
        waiting = sum(slot.follow_ups.count for _, slot in state.slots_with_follow_ups())
        counters.accounts = len(state.account_ids)
        counters.subscriptions = state.places.count
        counters.open_orders = state.orders.count
        counters.unanswered_orders = self.watch.count
        counters.follow_ups = waiting
        counters.commands_waiting = self.inbox.count
        counters.suspended_creators = len(state.suspended)
        counters.inputs_quarantined = state.quarantine.count

    def dedicated_shards(self) -> tuple[int, ...]:
        """The shards of dedicated accounts opened here. Cost: of the accounts opened since the last
        call only, since every progress asks for it.
        """
        given = self.state.accounts["dedicated"][self._accounts_seen :]
        self._accounts_seen += len(given)
        self._dedicated_shards += tuple(given[given >= 0].tolist())
        return self._dedicated_shards

    def on_replayed(self, event: Any) -> list[Output]:
        """Owe nothing: gateways read the journal itself."""
        return []

    def on_snapshot(self) -> None:
        """Do nothing: the state stands between two turns."""
