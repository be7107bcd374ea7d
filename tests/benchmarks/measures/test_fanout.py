"""The figures of `fanout`."""

from actors.counters import Counters
from actors.shard.progress import ShardProgress
from benchmarks.harness.heard import TimedProgress
from benchmarks.measures import fanout


def test_the_slower_shards_time_on_acknowledgements_counts_per_fill() -> None:
    def progress(shard: int, wait_us: int, append_us: int) -> TimedProgress:
        counts = Counters(append_wait_us=wait_us, append_us=append_us)
        return TimedProgress(
            0, ShardProgress("follower", shard, "x", "live", 1, 1, 1, 0, True, (), counts)
        )

    heard = [
        progress(0, 1_000, 5_000),
        progress(1, 0, 0),
        progress(0, 9_000, 25_000),
        progress(1, 2_000, 30_000),
    ]
    assert fanout.journal_waits_ms(heard, 2) == {"journal_wait_ms": 4.0, "journal_append_ms": 15.0}
    assert fanout.journal_waits_ms([], 2) == {"journal_wait_ms": 0.0, "journal_append_ms": 0.0}
