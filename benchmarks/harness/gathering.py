"""Reading a run's hops back: from journals, the executions stream, the paper broker's ledger, and
the progress that was heard.
"""

from pathlib import Path
from typing import Any

import numpy as np

from actors.ports import EXECUTIONS
from benchmarks.harness.fills import TimedFill
from benchmarks.harness.heard import Acknowledgements
from benchmarks.harness.hops import FillHops, SeenFrame, Window
from benchmarks.harness.streams import last_sequence, read_stream
from engine.columns.section_codec import decode_section
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import ExecutionsApplied, OrdersPlaced, SignalDecided
from engine.journal.frame import FrameHeader, decode_frame
from engine.messages.blocks import ExecutionsReported, decode_block, is_block
from engine.values.order_ids import CauseKind, OrderKey
from gateways.brokers.ledger.ledger import FILE_NAME, walk_frames
from gateways.brokers.ledger.ledger_reader import LedgerFile
from gateways.brokers.ledger.records import MESSAGE_TAG, OrdersTaken, walk_records
from gateways.nats.connection import NatsConnection

CREATORS, FOLLOWERS = "JOURNAL_CREATOR", "JOURNAL_FOLLOWER"
Signal = tuple[int, int]


def _signal_of(key: OrderKey) -> Signal:
    """Return the creator shard and number of the signal that orders follow from."""
    return key.creator_shard, key.cause_number


class HopGatherer:
    """Reads the hops of one run after another. Windows follow each other, so nothing is read
    twice.
    """

    def __init__(self, connection: NatsConnection, ledger_directory: Path) -> None:
        self._connection = connection
        self._path = ledger_directory / FILE_NAME
        self._ledger = (0, 1)

    async def window(self) -> Window:
        """Remember where every stream and the ledger stand. Call it while nothing moves."""
        self._ledger = self._ledger_end()
        creators, followers, executions = [
            await last_sequence(self._connection, stream)
            for stream in (CREATORS, FOLLOWERS, EXECUTIONS)
        ]
        return Window(creators, followers, executions, *self._ledger)

    def _ledger_end(self) -> tuple[int, int]:
        offset, number = self._ledger
        source = LedgerFile(self._path)
        try:
            for frame in walk_frames(source, offset, number):
                offset, number = frame.end, frame.number + 1
        finally:
            source.close()
        return offset, number

    async def hops(
        self, published: list[TimedFill], window: Window, acknowledgements: Acknowledgements
    ) -> FillHops:
        """Build the hop times of the given fills."""
        run = _Span(FillHops(published), acknowledgements)
        async for stored in read_stream(
            self._connection, CREATORS, after_sequence=window.creator_sequence
        ):
            run.take_creator_frame(*decode_frame(stored.data))
        async for stored in read_stream(
            self._connection, FOLLOWERS, after_sequence=window.follower_sequence
        ):
            run.take_follower_frame(stored.time_ns, len(stored.data), *decode_frame(stored.data))
        commits = self._read_ledger(run, window)
        accepted: dict[int, int] = {}
        async for stored in read_stream(
            self._connection, EXECUTIONS, after_sequence=window.executions_sequence
        ):
            run.take_executions(stored.time_ns, stored.data, commits, accepted)
        run.close_commits(accepted)
        run.hops.tighten()
        return run.hops

    def _read_ledger(self, run: "_Span", window: Window) -> dict[tuple[int, int], int]:
        """Take the orders in the ledger. Returns: the ledger frame of each executions message, by
        follower shard and first number.
        """
        commits: dict[tuple[int, int], int] = {}
        source = LedgerFile(self._path)
        try:
            for frame in walk_frames(source, window.ledger_offset, window.ledger_frame):
                for record in walk_records(frame.offset, frame.payload):
                    if record.tag == OrdersTaken.TAG:
                        run.take_orders(frame.number, decode_section(OrdersTaken, record.body))
                    elif record.tag == MESSAGE_TAG:
                        report = decode_block(record.body)[0]
                        commits[report.follower_shard, int(report.numbers[0])] = frame.number
        finally:
            source.close()
        return commits


class _Span:
    """Hops under construction: the fill of each signal, and the fills whose orders each ledger
    frame took.
    """

    def __init__(self, hops: FillHops, acknowledgements: Acknowledgements) -> None:
        self.hops = hops
        self._acknowledgements = acknowledgements
        self._fill_of: dict[Signal, int] = {}
        self._creator_of: dict[str, Any] = {}
        self._by_exec = {exec_id: fill for (_, exec_id), fill in hops.index.items()}
        self._taken: dict[int, set[int]] = {}

    def take_creator_frame(self, header: FrameHeader, events: list[Any]) -> None:
        shard = header.key.shard
        for event in events:
            fill = self._by_exec.get(event.exec_id) if isinstance(event, FillApplied) else None
            if fill is not None:
                self._fill_of[shard, event.signal] = fill
                self._see_durable(fill, "signaled", header)

    def _see_durable(self, fill: int, hop: str, header: FrameHeader) -> None:
        heard_ns = self._acknowledgements.time_ns(
            header.key.kind.name.lower(), header.key.shard, header.number
        )
        if heard_ns is not None:
            self.hops.see(fill, hop, heard_ns)

    def take_follower_frame(
        self, time_ns: int, size: int, header: FrameHeader, events: list[Any]
    ) -> None:
        decided: set[int] = set()
        for event in events:
            if isinstance(event, SignalDecided):
                quantities = event.units * event.unit
                decided |= self._take_decided(
                    time_ns, header, (event.creator_shard, event.signal), quantities
                )
            elif isinstance(event, OrdersPlaced) and event.key.cause_kind == CauseKind.SIGNAL:
                signal = _signal_of(event.key)
                decided |= self._take_decided(time_ns, header, signal, event.quantities)
            elif isinstance(event, ExecutionsApplied) and event.key.cause_kind == CauseKind.SIGNAL:
                self._take_applied(header, event)
        if decided:
            seen = SeenFrame(header.key.shard, size, tuple(sorted(decided)))
            self.hops.frames.append(seen)

    def _take_decided(
        self, time_ns: int, header: FrameHeader, signal: Signal, quantities: Any
    ) -> set[int]:
        """Take orders of one signal. Returns: the fill that has them, if any."""
        fill = self._fill_of.get(signal)
        orders = int(np.count_nonzero(quantities))
        if fill is None or not orders:
            return set()
        self.hops.orders[fill] += orders
        self.hops.ordered_e8[fill] += int(quantities.sum())
        self.hops.see(fill, "sized", header.event_time_ns)
        self.hops.see(fill, "journaled", time_ns)
        self._see_durable(fill, "durable", header)
        return {fill}

    def _take_applied(self, header: FrameHeader, event: ExecutionsApplied) -> None:
        fill = self._fill_of.get(_signal_of(event.key))
        if fill is None:
            return
        self.hops.executions[fill] += len(event.subscriptions)
        self.hops.executed_e8[fill] += int(event.quantities.sum())
        self.hops.see(fill, "applied", header.event_time_ns)
        self._see_durable(fill, "updated", header)

    def take_orders(self, ledger_frame: int, taken: OrdersTaken) -> None:
        fill = self._fill_of.get(_signal_of(taken.key))
        if taken.key.cause_kind == CauseKind.SIGNAL and fill is not None:
            self.hops.see(fill, "sent", taken.event_time)
            self._taken.setdefault(ledger_frame, set()).add(fill)

    def take_executions(
        self,
        time_ns: int,
        data: bytes,
        commits: dict[tuple[int, int], int],
        accepted: dict[int, int],
    ) -> None:
        if not is_block(data):
            return
        for report in decode_block(data):
            if not isinstance(report, ExecutionsReported):
                continue
            commit = commits.get((report.follower_shard, int(report.numbers[0])))
            if commit is not None:
                accepted[commit] = min(time_ns, accepted.get(commit, time_ns))
            fill = self._fill_of.get(_signal_of(report.key))
            if fill is not None and report.key.cause_kind == CauseKind.SIGNAL:
                self.hops.see(fill, "executed", time_ns)

    def close_commits(self, accepted: dict[int, int]) -> None:
        for commit, fills in self._taken.items():
            for fill in fills if commit in accepted else ():
                self.hops.see(fill, "accepted", accepted[commit])
