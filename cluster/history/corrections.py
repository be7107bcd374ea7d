"""Trade cancels and corrections that one follower shard applied, one Python tuple each: brokers
correct few trades.
"""

from typing import NamedTuple

from cluster.history.reader import JournalFrame
from engine.follower.order_history import exec_id_of
from engine.journal.events.orders import TradesCorrected
from engine.values.order_ids import cause_high


class Correction(NamedTuple):
    """One correction as the journal says it. `after_executions` is how many executions were applied
    before it; `old_*` is reversed.

    The order id is `high` and `low`; `number` is -1 where the execution id is the prefix alone.
    Units: as in `Executions`.
    """

    high: int
    low: int
    broker: str
    prefix: str
    number: int
    reference: str
    exec_type: int
    side: int
    old_quantity: int
    old_price: int
    old_fee: int
    quantity: int
    price: int
    fee: int
    filled: int
    leaves: int
    frame: int
    after_executions: int

    @property
    def exec_id(self) -> str:
        """Name the correction."""
        return exec_id_of(self.prefix, self.number)


def corrections_of(
    shard: int, frame: JournalFrame, event: TradesCorrected, after_executions: int
) -> list[Correction]:
    """Take the corrections of one event."""
    high = cause_high(shard, event.cause_kind, event.cause_creator_shard, event.cause_number)
    tail = event.leg << 20 | event.attempt
    columns = (
        event.numbers,
        event.reference_numbers,
        event.subscriptions,
        event.exec_types,
        event.old_quantities,
        event.old_prices,
        event.old_fees,
        event.quantities,
        event.prices,
        event.fees,
        event.filled,
        event.leaves,
    )
    found = []
    for number, reference, subscription, exec_type, *rest in zip(
        *(c.tolist() for c in columns), strict=True
    ):
        old_quantity, old_price, old_fee, quantity, price, fee, filled, leaves = rest
        found.append(
            Correction(
                high,
                subscription << 32 | tail,
                event.broker,
                event.prefix,
                number,
                exec_id_of(event.reference_prefix, reference),
                exec_type,
                event.side,
                old_quantity,
                old_price,
                old_fee,
                quantity,
                price,
                fee,
                filled,
                leaves,
                frame.header.number,
                after_executions,
            )
        )
    return found
