"""The real engine as a `World`: one creator shard and one follower shard, joined by nothing but
frames and blocks.

    creator side --frames--> follower side <--blocks-- broker side
                   view: both states in the reference's values
"""

from collections.abc import Callable

from engine.values.copy_policy import CopyPolicy
from tests.engine.world.broker_side import BrokerSide
from tests.engine.world.clock import WorldClock
from tests.engine.world.creator_side import CreatorSide
from tests.engine.world.follower_side import FollowerSide
from tests.engine.world.view import WorldView
from tests.reference.values import Decision


class EngineWorld:
    """The engine. `part_rows` is asked before each part of a signal, so that parts of any size may
    follow one another.
    """

    def __init__(
        self,
        *,
        time: int = 1_700_000_000 * 10**9,
        fee_rate: int = 0,
        part_rows: Callable[[], int] = lambda: 1000,
    ) -> None:
        self.clock = WorldClock(time)
        self.follower_side = FollowerSide(self.clock, CopyPolicy(fee_rate=fee_rate), part_rows)
        self.creator_side = CreatorSide(self.clock, self.follower_side)
        self.creators, self.followers = self.creator_side.journaled, self.follower_side.journaled
        self.view = WorldView(self.creators, self.followers, self.creator_side.numbers)
        self.broker_side = BrokerSide(self.clock, self.follower_side, self.view)

        self.list_instrument = self.creator_side.list_instrument
        self.open_creator = self.creator_side.open_creator
        self.mark = self.creator_side.mark
        self.trust = self.creator_side.trust
        self.follow = self.follower_side.follow
        self.unfollow = self.follower_side.unfollow
        self.pause = self.follower_side.pause
        self.command = self.follower_side.command
        self.execute = self.broker_side.execute
        self.end = self.broker_side.end
        self.resolve = self.broker_side.resolve
        self.open_orders = self.view.open_orders
        self.position = self.view.position
        self.sleeve = self.view.sleeve
        self.portfolio = self.view.portfolio

    def check(self) -> None:
        """Demand P6 of both shards."""
        self.creators.check()
        self.followers.check()

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        age: int = 0,
        order_quantity: int = 0,
    ) -> list[Decision]:
        """Fill a creator's order, dated `age` ago, and decide it everywhere."""
        signals = self.creator_side.fill(
            creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )
        return self.view.decisions(signals)

    def correct_fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        exec_ref_id: str,
        *,
        quantity: int,
        price: int,
        is_cancel: bool,
    ) -> tuple[str, list[Decision]]:
        """Cancel or correct a fill. Returns: the reason of a refusal, or an empty text, and what
        the followers decided.
        """
        refused, signals = self.creator_side.correct_fill(
            creator,
            symbol,
            side,
            exec_ref_id,
            quantity=quantity,
            price=price,
            is_cancel=is_cancel,
        )
        return refused, self.view.decisions(signals)

    def advance(self, duration: int) -> None:
        """Move event time on and do what falls due."""
        self.clock.time += duration
        self.follower_side.decide_due()
