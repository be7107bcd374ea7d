"""Trade cancels and corrections that one follower shard applied. Each is a Python tuple, because
brokers correct few trades.
"""

from typing import NamedTuple

from engine.history.frames import JournalFrame
from engine.journal.events.orders import TradesCorrected
from engine.messages.blocks import exec_id_of


class AppliedCorrection(NamedTuple):
    """One correction as the journal has it. `after_executions` executions were applied before it;
    the trade given by `old_*` is reversed.

    The order id is `high` and `low`. `number` is -1 where the execution id is the prefix alone.
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
        """The correction's own execution id."""
        return exec_id_of(self.prefix, self.number)


def corrections_of(
    shard: int, frame: JournalFrame, event: TradesCorrected, after_executions: int
) -> list[AppliedCorrection]:
    """Return the corrections of one event."""
    high = event.key.high(shard)
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
            AppliedCorrection(
                high,
                event.key.low(subscription),
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
