"""Rules about answers: one for each block, with counts that are right."""

from gateways.brokers.acceptance.bench import Bench, expect_accepted
from gateways.brokers.acceptance.broken import Broken, expect
from gateways.brokers.acceptance.rules.rule import Rule

_AT_ONCE = 40


async def _sums(bench: Bench) -> None:
    first, second = bench.orders(range(5)), bench.orders(range(3), follower_shard=1, side=-1)
    expect_accepted(await bench.ask(first, bench.accounts(1), second), 8)
    await bench.wait_ended(first, second)


async def _own_answers(bench: Bench) -> None:
    sections = [bench.orders(range(count)) for count in range(1, _AT_ONCE + 1)]
    sent = [await bench.hand_over(bench.block(each), [each]) for each in sections]
    for each, waiting in zip(sections, sent, strict=True):
        answer = await bench.answer_to(waiting, [each])
        if answer is None:
            raise Broken(f"an answer to each of {_AT_ONCE} blocks sent at once", "one without")
        expect_accepted(answer, len(each.subscriptions))
    await bench.wait_ended(*sections)


async def _answered_once(bench: Bench) -> None:
    # The answer to a block sent last comes behind every answer that is under way.
    await bench.place(bench.orders([1]))
    counts = [len(sent.answers) for sent in bench.sent]
    expect(
        max(counts) == 1,
        f"at most one answer to each of {len(counts)} blocks",
        f"{max(counts)} answers to one block",
    )


RULES = (
    Rule("answers", "an answer counts all orders of a block, of every section and shard", _sums),
    Rule("answers", "of blocks sent without waiting, each gets its own answer", _own_answers),
)
LAST_RULES = (Rule("answers", "no block of this run was answered twice", _answered_once),)
