"""The watch over the disk, look by look: when it alarms, when it starts NATS again, and how
often.
"""

from itertools import pairwise
from pathlib import Path

from structlog.testing import capture_logs

from actors.errors import OperatingError, OutcomeUnknownError, PermanentError
from cluster.running.disk_watch import DiskWatch, FailedWrites

MIB = 1 << 20
LEAST = 100 * MIB
LINE = b"[ERR] JetStream failed to store a msg: write 1.blk: no space left on device\n"


class Machine:
    """A disk of which a test says how much is free, and a NATS that it makes fail."""

    def __init__(self, *, is_ours: bool = True) -> None:
        self.free = 1000 * MIB
        self.has_failed = False
        self.restarts = 0
        self.held: list[bool] = []
        self.hold_failures: list[OperatingError] = []
        self.watch = DiskWatch(
            Path("data"),
            LEAST,
            has_failed=self._failed,
            restart=self._restart if is_ours else None,
            hold=self._hold,
            free_bytes=lambda path: self.free,
        )

    def _failed(self) -> bool:
        found, self.has_failed = self.has_failed, False
        return found

    async def _restart(self) -> None:
        self.restarts += 1

    async def _hold(self, is_held: bool) -> None:
        if self.hold_failures:
            raise self.hold_failures.pop()
        self.held.append(is_held)

    def sees(self, free: int, now_s: float = 0.0) -> bool:
        """Look at a disk with so much free space."""
        self.free = free
        return self.watch.look(now_s)


def test_a_short_disk_alarms_once_until_there_is_twice_the_least() -> None:
    machine = Machine()
    with capture_logs() as logs:
        for free in (LEAST, LEAST - 1, LEAST - 1, LEAST, 2 * LEAST - 1):
            assert not machine.sees(free)
    assert [(log["event"], log["alarm"]) for log in logs] == [("disk_full", True)]
    assert (
        "disk_full: data: expected 104857600 bytes free, found 104857599" in machine.watch.trouble
    )
    assert not machine.sees(2 * LEAST)
    assert machine.watch.trouble == ""


def test_a_short_disk_that_was_never_full_restarts_nothing() -> None:
    machine = Machine()
    assert not machine.sees(LEAST // 2)
    assert not machine.sees(900 * MIB)


async def test_nats_is_started_again_once_a_full_disk_has_room() -> None:
    machine = Machine()
    assert not machine.sees(0)
    assert not machine.sees(LEAST)
    assert machine.sees(2 * LEAST)
    await machine.watch.heal(0.0)
    assert machine.restarts == 1
    assert not machine.sees(2 * LEAST)
    assert machine.watch.trouble == ""


async def test_a_nats_that_fails_to_write_on_a_disk_with_room_alarms_and_is_restarted() -> None:
    machine = Machine()
    machine.has_failed = True
    with capture_logs() as logs:
        assert machine.sees(900 * MIB)
        assert machine.sees(900 * MIB)
    assert [log["event"] for log in logs] == ["disk_full"]
    assert "NATS fails to write" in machine.watch.trouble


async def test_restarts_in_a_row_come_ever_more_slowly() -> None:
    machine, now_s = Machine(), 0.0
    moments: list[float] = []
    while now_s < 300.0:
        machine.has_failed = True
        if machine.sees(900 * MIB, now_s):
            moments.append(now_s)
            await machine.watch.heal(now_s)
        now_s += 1.0
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert max(pauses) == 60.0


async def test_a_failure_that_was_told_before_the_restart_asks_for_no_other() -> None:
    machine = Machine()
    machine.has_failed = True
    assert machine.sees(900 * MIB)
    machine.has_failed = True
    await machine.watch.heal(0.0)
    assert not machine.sees(900 * MIB, 10.0)


async def test_inputs_are_held_while_the_disk_is_short() -> None:
    machine = Machine()
    for free in (1000 * MIB, LEAST - 1, LEAST - 2, 2 * LEAST - 1, 2 * LEAST, 3 * LEAST):
        machine.sees(free)
        await machine.watch.hold()
    assert machine.held == [False, True, False]


async def test_a_hold_that_failed_is_tried_again() -> None:
    machine = Machine()
    machine.hold_failures = [OutcomeUnknownError("no answer"), PermanentError("no stream")]
    for _ in range(4):
        machine.sees(LEAST - 1)
        await machine.watch.hold()
    assert machine.held == [True]


async def test_the_operator_of_another_nats_is_told_to_start_it_again() -> None:
    machine = Machine(is_ours=False)
    machine.sees(0)
    assert machine.sees(900 * MIB)
    with capture_logs() as logs:
        await machine.watch.heal(0.0)
    assert [(log["event"], log["alarm"]) for log in logs] == [("nats_restart_needed", True)]
    assert "its operator must start it again" in logs[0]["error"]


def test_failed_writes_are_found_once_each_and_only_from_now_on(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_bytes(LINE)
    failed = FailedWrites(log)
    assert not failed.found()
    with log.open("ab") as file:
        file.write(b"[INF] well\n")
    assert not failed.found()
    with log.open("ab") as file:
        file.write(LINE)
    assert failed.found()
    assert not failed.found()


def test_a_log_that_is_missing_or_was_cut_tells_of_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    failed = FailedWrites(log)
    assert not failed.found()
    log.write_bytes(LINE * 3)
    assert failed.found()
    log.write_bytes(b"")
    assert not failed.found()
    log.write_bytes(LINE)
    assert failed.found()
