"""Rules about the largest blocks that a gateway sends."""

from gateways.brokers.acceptance.bench import Bench, expect_accepted
from gateways.brokers.acceptance.rules.rule import Rule


async def _many_sections(bench: Bench) -> None:
    sections = [bench.orders(range(4), follower_shard=number % 2) for number in range(256)]
    expect_accepted(await bench.ask(*sections), 1024)
    await bench.wait_ended(*sections)


async def _many_orders(bench: Bench) -> None:
    for counts in ((32_768, 32_768), (100_000,)):
        sections = [bench.orders(range(count)) for count in counts]
        expect_accepted(await bench.ask(*sections), sum(counts))
        await bench.wait_ended(*sections)


RULES = (
    Rule("large blocks", "a block of 256 sections of two shards is taken", _many_sections),
    Rule(
        "large blocks",
        "a block of 65,536 orders, and one of a section of 100,000, is taken",
        _many_orders,
    ),
)
