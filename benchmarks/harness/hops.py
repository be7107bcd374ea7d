"""The hops of each fill, gathered after the run from what the engine keeps anyway.

    hop         read from
    published   the client's clock (the intended time under open loop)
    signaled    first progress that covers the creator's frame, or the next hop if earlier *
    sized       event time of the follower frame that decided it, stamped as the frame is made
    journaled   JetStream's time of that frame: written, not yet synced
    durable     first progress that covers that frame, or the next hop if that is earlier *
    sent        event time of the block in the broker's ledger, stamped right before the write
    accepted    JetStream's time of the first execution message of the broker's group commit,
                which the broker publishes after its fsync *
    executed    JetStream's time of the execution message
    applied     event time of the follower frame that applied it
    updated     first progress that covers that frame: the position is durable *

    * an upper bound

There is one machine and one clock. Each hop has a first and a last time over a fill's orders.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.fills import TimedFill

Times = NDArray[np.int64]
HOPS = (
    "signaled",
    "sized",
    "journaled",
    "durable",
    "sent",
    "accepted",
    "executed",
    "applied",
    "updated",
)
NEVER = np.iinfo(np.int64).max

STAGES = {
    "signaled": ("published", "signaled"),
    "sized": ("signaled", "sized"),
    "journaled": ("sized", "durable"),
    "sent": ("durable", "sent"),
    "accepted": ("sent", "accepted"),
    "executed": ("accepted", "executed"),
    "applied": ("executed", "updated"),
}
"""Stages as the time from the last of one hop to the last of the next."""


class SeenFrame(NamedTuple):
    """A follower frame that decided orders: its shard, its size, and of which fills."""

    shard: int
    bytes: int
    fills: tuple[int, ...]


class FillHops:
    """Hop times of a run's fills. Shapes: one entry per fill, in order of publishing; 0 (NEVER
    for firsts) where a hop was not seen.
    """

    def __init__(self, published: list[TimedFill]) -> None:
        count = len(published)
        self.index = {
            (fill.plan.creator_id, fill.plan.exec_id): number
            for number, fill in enumerate(published)
        }
        self.intended = np.array([fill.intended_ns for fill in published], np.int64)
        self.stored = np.array([fill.stored_ns for fill in published], np.int64)
        self.first: dict[str, Times] = {hop: np.full(count, NEVER, np.int64) for hop in HOPS}
        self.last: dict[str, Times] = {hop: np.zeros(count, np.int64) for hop in HOPS}
        self.orders = np.zeros(count, np.int64)
        self.ordered_e8 = np.zeros(count, np.int64)
        self.executions = np.zeros(count, np.int64)
        self.executed_e8 = np.zeros(count, np.int64)
        self.frames: list[SeenFrame] = []

    def see(self, fill: int, hop: str, time_ns: int) -> None:
        """Note that a fill, or a part of it, passed a hop."""
        first, last = self.first[hop], self.last[hop]
        first[fill] = min(first[fill], time_ns)
        last[fill] = max(last[fill], time_ns)

    def tighten(self) -> None:
        """Lower each upper bound to the hop behind it. Progress comes only some times per
        second, and nobody decides on a signal or sends an order before its frame is durable.
        Only fills whose orders all went the whole way are tightened.
        """
        whole = (self.orders > 0) & (self.executions == self.orders)
        for told, behind in (("signaled", "sized"), ("durable", "sent")):
            for times in (self.first, self.last):
                earlier = whole & (times[behind] > 0) & (times[behind] < times[told])
                times[told][earlier] = times[behind][earlier]

    def passed(self, hop: str) -> NDArray[np.bool_]:
        """Return which fills have orders and passed a hop."""
        return (self.orders > 0) & (self.last[hop] > 0)

    def to_last(self, hop: str) -> Times:
        """Return the durations from the intended time to the last of a hop, ns, for fills with
        orders that passed it.
        """
        return (self.last[hop] - self.intended)[self.passed(hop)]

    def to_first(self, hop: str) -> Times:
        """Return the durations from the intended time to the first of a hop, ns, for fills with
        orders that passed it.
        """
        return (self.first[hop] - self.intended)[self.passed(hop)]

    def missing(self) -> int:
        """Count the fills that have an order with neither an execution nor an end. Under
        overload an order may end without passing every hop: a later fill may cancel it unsent.
        """
        return int((self.executions < self.orders).sum())

    def shares(self) -> dict[str, float]:
        """Return each stage's share of the time from publish to the last position updated,
        summed over the fills. The shares add up to 1.
        """
        chosen = self.orders > 0
        ends = {"published": self.intended, **self.last}
        # A stage that was over before the one in front of it took no time of its own.
        reached, spent = self.intended.copy(), {}
        for stage, (_, hop) in STAGES.items():
            now = np.maximum(reached, ends[hop])
            spent[stage] = float((now - reached)[chosen].sum())
            reached = now
        total = sum(spent.values())
        return {stage: round(part / total, 4) if total else 0.0 for stage, part in spent.items()}

    def rows(self) -> Iterable[tuple[str, str, int, int, int, int]]:
        """Return what every run of one seed must repeat: fill, orders and executions with their
        quantities.
        """
        for (creator_id, exec_id), fill in self.index.items():
            counts = (self.orders, self.ordered_e8, self.executions, self.executed_e8)
            yield creator_id, exec_id, *(int(count[fill]) for count in counts)  # type: ignore[misc]


class Window(NamedTuple):
    """Where the streams and the ledger stood when a run began."""

    creator_sequence: int
    follower_sequence: int
    executions_sequence: int
    ledger_offset: int
    ledger_frame: int
