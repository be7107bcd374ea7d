"""P1 and P8 at the broker: after any blocks, repeats and losses of the ledger's tail, nothing
executes twice and no answer is lost.

The model is dictionaries of answers and reports. A ledger loses only the bytes on which no answer
or report relied, as in a crash.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.messages.blocks import decode_block, encode_block
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.program.reports import Message
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    SHARES_10,
    OrderKey,
    accounts,
    answer,
    block,
    cancels,
    coordinates,
    executions_of,
    orders,
    paper_core,
)

subscriptions = st.sets(st.integers(0, 30), min_size=1).map(sorted) | st.builds(
    range, st.integers(0, 15), st.integers(16, 31)
)
one_orders = st.builds(
    orders,
    subscriptions,
    follower_shard=st.integers(0, 1),
    cause_number=st.integers(1, 2),
    attempt=st.integers(0, 1),
    side=st.sampled_from([1, -1]),
    limit_price=st.just(0),
)
MS = 1_000_000


class Restarts(RuleBasedStateMachine):
    """A gateway that repeats itself, a stream that forgets nothing, and a broker that dies in the
    middle of writing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = EVENT_TIME
        self.answered: set[OrderKey] = set()
        self.stream: dict[str, bytes] = {}
        self.outbox: list[Message] = []

    @initialize(
        delay=st.sampled_from([0, 5]), slices=st.integers(1, 3), every_n=st.sampled_from([0, 7])
    )
    def begin(self, delay: int, slices: int, every_n: int) -> None:
        self.settings = FillSettings(
            fill_delay_ms=delay, partial_fill_slices=slices, reject_every_n=every_n
        )
        self.ledger = MemoryLedger()
        self.core = paper_core(self.ledger, self.settings, ledger_id="first")
        self.send([block(accounts(0), accounts(1))])

    @rule(sections=st.lists(st.lists(one_orders, min_size=1, max_size=3), min_size=1, max_size=3))
    def submit(self, sections: list[list[object]]) -> None:
        self.send([block(*each) for each in sections])

    @rule(
        rows=st.lists(st.integers(0, 30), min_size=1),
        cause=st.integers(1, 2),
        shard=st.integers(0, 1),
    )
    def cancel(self, rows: list[int], cause: int, shard: int) -> None:
        self.send([block(cancels(rows, cause, shard))])

    @rule(ms=st.integers(0, 10))
    def pass_time(self, ms: int) -> None:
        self.now += ms * MS
        self.send([])

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        for _ in range(min(count, len(self.outbox))):
            message = self.outbox.pop(0)
            self.store(message)
            self.core.confirm(message)

    @rule()
    def publish_and_die_before_the_answer(self) -> None:
        if self.outbox:
            self.store(self.outbox[0])
        self.restart(self.ledger.end)

    @rule(torn=st.binary(max_size=40))
    def die(self, torn: bytes) -> None:
        self.restart(self.ledger.end, torn)

    @rule(sections=st.lists(one_orders, min_size=1, max_size=3), share=st.floats(0, 1))
    def die_while_writing(self, sections: list[object], share: float) -> None:
        start = self.ledger.end
        self.core.take(block(*sections), self.now)
        ended = self.core.end_turn()
        self.ledger.append(ended.frame)
        # The last byte is missing at least, or the frame would be whole: nobody was answered,
        # either is right.
        self.restart(start + int(share * len(ended.frame)))

    def send(self, blocks: list[bytes]) -> None:
        answers = [self.core.take(each, self.now) for each in blocks]
        self.core.advance(self.now)
        ended = self.core.end_turn()
        if ended.frame:
            self.ledger.append(ended.frame)
            self.core.committed()
        self.outbox += ended.messages
        for each, taken in zip(blocks, answers, strict=True):
            self.note(each, taken)

    def note(self, sent: bytes, taken: bytes) -> None:
        reply = answer(taken)
        assert reply.refusal == ""
        ids = [
            (*coordinates(section), subscription)
            for section in decode_block(sent)
            if hasattr(section, "quantities")
            for subscription in section.subscriptions.tolist()
        ]
        assert reply.accepted + reply.repeated == len(ids)
        assert reply.accepted <= len(set(ids) - self.answered)
        self.answered |= set(ids)

    def store(self, message: Message) -> None:
        data = message.data or self.ledger.read(message.offset, message.length)
        assert len(data) == message.length
        assert self.stream.setdefault(self.core.message_id(message), data) == data

    def restart(self, end: int, torn: bytes = b"") -> None:
        self.ledger = MemoryLedger(bytes(self.ledger.data[:end]) + torn)
        self.core = paper_core(self.ledger, self.settings, ledger_id="second")
        self.outbox = self.core.unconfirmed()

    @invariant()
    def nothing_executes_twice(self) -> None:
        found = executions_of(
            section for data in self.stream.values() for section in decode_block(data)
        )
        traded: dict[OrderKey, int] = {}
        ended: set[OrderKey] = set()
        for order, exec_type, quantity, _, _ in found.values():
            if exec_type is ExecType.TRADE:
                traded[order] = traded.get(order, 0) + quantity
            else:
                assert order not in ended
                ended.add(order)
        assert all(quantity <= SHARES_10 for quantity in traded.values())
        assert not any(traded.get(order) == SHARES_10 for order in ended)

    def teardown(self) -> None:
        """However it went: after one more restart everything answered ends, exactly once, without a
        gap.
        """
        if not hasattr(self, "settings"):
            return
        self.restart(self.ledger.end)
        for _ in range(5):
            self.pass_time(10)
        self.publish(len(self.outbox))
        found = executions_of(
            section for data in self.stream.values() for section in decode_block(data)
        )
        self.nothing_executes_twice()
        closed = {
            order for order, exec_type, *_ in found.values() if exec_type is not ExecType.TRADE
        }
        whole = {
            order
            for order in self.answered
            if sum(v[2] for v in found.values() if v[0] == order) == SHARES_10
        }
        assert self.answered <= closed | whole
        for shard in (0, 1):
            numbers = sorted(
                int(name.rsplit("-", 1)[1]) for name in found if name.split("-")[2] == str(shard)
            )
            assert numbers == list(range(1, len(numbers) + 1))


TestRestarts = Restarts.TestCase
TestRestarts.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_a_ledger_cut_anywhere_replays_to_a_prefix() -> None:
    ledger = MemoryLedger()
    core = paper_core(ledger, FillSettings(), ledger_id="first")
    ends = [0]
    for cause in (1, 2, 3):
        core.take(block(accounts(), orders([1, 4], cause_number=cause)), EVENT_TIME)
        ledger.append(core.end_turn().frame)
        core.committed()
        ends.append(ledger.end)
    whole = bytes(ledger.data)
    for place in range(len(whole) + 1):
        again = paper_core(MemoryLedger(whole[:place]), FillSettings(), ledger_id="second")
        frames = max(index for index, end in enumerate(ends) if end <= place)
        assert again.statistics()["orders_taken"] == 2 * frames
        assert len(again.unconfirmed()) == frames


def test_only_confirmed_executions_are_not_published_again() -> None:
    ledger = MemoryLedger()
    core = paper_core(ledger, FillSettings(), ledger_id="first")
    messages: list[Message] = []
    for cause in (1, 2, 3):
        core.take(block(accounts(), orders([1], cause_number=cause)), EVENT_TIME)
        ended = core.end_turn()
        ledger.append(ended.frame)
        core.committed()
        messages += ended.messages
    core.confirm(messages[0])
    ledger.append(core.end_turn().frame)
    again = paper_core(MemoryLedger(bytes(ledger.data)), FillSettings(), ledger_id="second")
    assert again.unconfirmed() == [message._replace(data=None) for message in messages[1:]]
    assert [again.message_id(message) for message in messages] == [
        core.message_id(message) for message in messages
    ]


def test_blocks_encode_what_the_property_reads() -> None:
    (section,) = decode_block(encode_block(orders([3], attempt=1)))
    assert coordinates(section) == (0, 0, 0, 1, 0, 1)
