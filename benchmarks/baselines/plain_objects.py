"""Baseline (c): one Python object per subscription, in memory. Nothing is durable and nobody is
told.

    for subscription in subscriptions: subscription.copy(signal) -> order

It shows the cost of rows in plain Python. A system on top of it would still have to store, send and
apply.
"""

import random
import sys
import time

import msgspec

MICROS = 1_000_000
PRICE = 100 * MICROS


class Options(msgspec.Struct, frozen=True):
    """The number of objects and fills, and the seed."""

    subscriptions: int
    fills: int = 3
    seed: int = 1


class Order(msgspec.Struct):
    """A copy order."""

    order_id: int
    account: str
    quantity: int


class Subscription:
    """One account copying one creator: cash, ratio and position, integers as in the engine."""

    __slots__ = ("account", "cash", "position", "ratio", "target")

    def __init__(self, account: str, cash: int, ratio: int) -> None:
        self.account = account
        self.cash = cash
        self.ratio = ratio
        self.position = 0
        self.target = 0

    def copy(self, signal: int, quantity: int, equity: int, lot: int) -> Order | None:
        """Size a proportional buy, check the cash, fill it."""
        mine = self.cash + self.position * PRICE // 100_000_000
        self.target += quantity * mine * self.ratio // (equity * MICROS)
        order = (self.target - self.position) // lot * lot
        cost = order * PRICE // 100_000_000
        if cost > self.cash or cost < MICROS:
            return None
        self.position += order
        self.cash -= cost
        return Order(signal << 32, self.account, order)


def measure(options: Options) -> dict[str, float]:
    """Copy some fills to every object. Returns: orders per second, the best of the fills."""
    chance = random.Random(options.seed)
    everyone = [
        Subscription(f"account-{number}", chance.randrange(5_000, 50_000) * MICROS, MICROS)
        for number in range(options.subscriptions)
    ]
    best = 0.0
    for signal in range(options.fills):
        began = time.perf_counter()
        orders = [
            order
            for one in everyone
            if (order := one.copy(signal, 10_000_000_000_000, 10**15, 100)) is not None
        ]
        best = max(best, len(orders) / (time.perf_counter() - began))
    return {"orders_per_s": best, "subscriptions": float(options.subscriptions)}


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Options)))
    )
