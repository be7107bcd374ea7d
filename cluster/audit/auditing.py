"""The whole audit, in the order in which it can be run against a cluster that goes on working.

Creator journals are read first, then follower journals, gateway journals and the brokers' ledgers.
So everything that a journal has applied is in a source that is read before it or read on: where a
follower is ahead, its creators' journals are read further. Orders in a ledger beyond the frames
that were read count as newer.
"""

import time
from pathlib import Path

from cluster.audit.conservation import ConservationAudit, check_creators
from cluster.audit.corrections import CorrectionsAudit, check_corrected
from cluster.audit.executions import ExecutionsAudit, check_applied, check_revoked, check_unknown
from cluster.audit.followers_at_brokers import BrokerView
from cluster.audit.inputs.ingress import IngressAudit
from cluster.audit.inputs.named import check_inputs
from cluster.audit.intents import IntentsAudit
from cluster.audit.missing import name_missing
from cluster.audit.placement import PlacementAudit, count_unsent, mark_revoked, mark_unresolved
from cluster.audit.quarantined import quarantine_note, quarantined_executions
from cluster.audit.report import AuditReport, Checks
from cluster.audit.resolved import check_resolved, resolved_note
from cluster.audit.shards import (
    CreatorSide,
    FollowerSide,
    creator_side,
    follower_side,
    read_gateway,
)
from cluster.history.store import JournalStore, opened_store
from engine.creator.shard import CreatorShard
from engine.history.gateways import GatewayTables
from engine.history.gather import Names
from engine.history.outcomes import OrderIndex, order_outcomes
from engine.journal.cursors import Cursor, Source
from engine.journal.frame import ShardKey, ShardKind
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.brokers.ledger.records import LedgerError
from gateways.spill import Spill


async def audit_data(data: Path, *, is_drained: bool = False) -> AuditReport:
    """Audit the cluster of a data directory, running or stopped. Columns that outgrow memory go to
    its disk.

    Raises: as `cluster.history.store.opened_store`; DiskFullError when that disk is full.
    """
    async with opened_store(data) as store:
        return await audit(store, is_drained=is_drained, storage=Spill(data))


async def audit(
    store: JournalStore, *, is_drained: bool = False, storage: Spill | None = None
) -> AuditReport:
    """Check every promise. `is_drained` claims that nothing is under way: anything missing is then
    a fault rather than on its way.

    `storage` keeps the columns and is closed at the end.

    Raises: OperatingError when a server does not answer; DiskFullError when columns outgrow memory
    and the disk is full.
    """
    storage = storage or Spill()
    try:
        return await _Audit(store, is_drained=is_drained, storage=storage).run()
    finally:
        storage.close()


class _Audit:
    def __init__(self, store: JournalStore, *, is_drained: bool, storage: Spill) -> None:
        self._store = store
        self._storage = storage
        self._is_drained = is_drained
        self._checks = Checks()
        self._notes: list[str] = []
        self._names = Names()
        self._views: dict[int, BrokerView] = {}

    async def run(self) -> AuditReport:
        started = time.monotonic()
        store, checks = self._store, self._checks
        creators = {
            shard: await creator_side(store, shard, checks)
            for shard in store.of_kind(ShardKind.CREATOR)
        }
        for creator in creators.values():
            await self._read_creator(creator)
        for shard in store.of_kind(ShardKind.FOLLOWER):
            await self._audit_follower(
                await follower_side(store, shard, creators, checks, self._storage)
            )
        for creator in creators.values():
            self._finish_creator(creator)
        tables = [creator.tables for creator in creators.values()]
        await IngressAudit(tables, checks["P4"]).run(store.streams)
        gateways = {
            shard: await read_gateway(store, shard, checks)
            for shard in store.of_kind(ShardKind.GATEWAY)
        }
        self._audit_brokers(gateways)
        seconds = time.monotonic() - started
        return AuditReport(tuple(checks.all.values()), (*self._notes, *checks.notes), seconds)

    # Creators.

    async def _read_creator(self, creator: CreatorSide) -> None:
        if self._store.bus is not None:
            self._note(await creator.meet_live(self._store.bus))
        else:
            await creator.read_on()
        await self._check_inputs(creator.reading.key, creator.tables.cursors)

    async def _check_inputs(self, key: ShardKey, cursors: dict[tuple[Source, int], Cursor]) -> None:
        await check_inputs(self._store.streams, key, cursors, self._checks["P4"])

    def _finish_creator(self, creator: CreatorSide) -> None:
        creator.reading.finish()
        replay = creator.reading.replay
        assert replay is not None
        self._note(quarantine_note(creator.reading.key, creator.tables.poison))
        self._checks["P2"].count("signals", int(creator.index.fills.legs_counts.sum()))
        if not replay.is_broken:
            assert isinstance(replay.state, CreatorShard)
            creator.tables.state = replay.state
            check_creators(creator.tables, self._checks["P7"], self._checks["P4"])

    # Followers.

    async def _audit_follower(self, follower: FollowerSide) -> None:
        checks, tables = self._checks, follower.tables
        is_first = not checks["P2"].offender
        self._note(await follower.read(self._store.bus))
        unanswered = follower.signals.finish()
        if unanswered is not None and is_first:
            named = await name_missing(self._store.journal, follower, unanswered)
            checks["P2"].offender = named or checks["P2"].offender
        follower.reading.finish()
        self._note(quarantine_note(follower.reading.key, tables.poison))
        self._note(resolved_note(tables))
        await self._check_inputs(follower.reading.key, tables.cursors)
        orders, executions = tables.orders.take(), tables.executions.take()
        index = OrderIndex(orders, self._storage)
        IntentsAudit(tables, orders, index, follower.fills, checks["P1"]).run(
            follower.signals.netted()
        )
        view = BrokerView(
            tables,
            orders,
            index,
            executions,
            self._names,
            has_unread=await self._has_unread(follower),
            quarantined=await quarantined_executions(self._store.streams, tables.poison),
        )
        self._views[follower.shard] = view
        try:
            outcomes = order_outcomes(orders, index, executions, corrections=tables.corrections)
            check_applied(view, outcomes, checks["P8"])
            check_resolved(view, checks["P8"])
            check_corrected(view, outcomes, checks["P8"])
            if follower.state is not None:
                ConservationAudit(tables, orders, outcomes, checks["P7"]).run(follower.state)
        except OverflowError as error:
            checks["P7"].fail(f"follower shard {follower.shard}: {error}")
        follower.reading.replay = None

    async def _has_unread(self, follower: FollowerSide) -> bool:
        cursor = follower.tables.cursors.get((Source.EXECUTIONS, 0))
        last = await self._store.last_executions(follower.shard)
        return last > (cursor.sequence if cursor else 0)

    # Brokers.

    def _audit_brokers(self, gateways: dict[int, GatewayTables]) -> None:
        placed, executed = self._checks["P3"], self._checks["P8"]
        for broker, directory in self._store.ledgers.items():
            try:
                self._audit_ledger(broker, LedgerReader(directory))
            except LedgerError as error:
                placed.fail(f"broker {broker}: {error}")
        for number, broker in enumerate(self._store.brokers):
            if number in gateways:
                revocations = gateways[number].revocations()
                mark_revoked(broker, revocations, self._views, placed)
                mark_unresolved(broker, gateways[number].unresolved(), self._views, placed)
                for view in self._views.values():
                    check_revoked(broker, revocations, view, executed, is_drained=self._is_drained)
        answered = {
            broker: gateways[number].answered_sequence
            for number, broker in enumerate(self._store.brokers)
            if number in gateways
        }
        ledgers = frozenset(self._store.ledgers)
        for view in self._views.values():
            check_unknown(view, ledgers, executed)
            for broker in view.brokers:
                if broker in ledgers:
                    count_unsent(
                        broker, view, answered.get(broker, 0), placed, is_drained=self._is_drained
                    )
                else:
                    self._note(f"broker {broker} keeps no ledger here: its side was not compared")

    def _audit_ledger(self, broker: str, ledger: LedgerReader) -> None:
        found, _ = ledger.broker()
        if found != broker:
            self._checks["P3"].fail(
                f"broker {broker}: expected its own ledger, found that of {found}"
            )
        is_running = self._store.bus is not None
        PlacementAudit(
            broker,
            self._views,
            self._names,
            self._checks["P3"],
            self._storage,
            is_running=is_running,
        ).run(ledger)
        ExecutionsAudit(
            broker, self._views, self._checks["P8"], self._storage, is_drained=self._is_drained
        ).run(ledger)
        CorrectionsAudit(broker, self._views, self._checks["P8"], is_drained=self._is_drained).run(
            ledger
        )

    def _note(self, note: str) -> None:
        if note and note not in self._notes:
            self._notes.append(note)
