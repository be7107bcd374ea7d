"""Random stories: the engine agrees with the auditor on every disposition, order, position and amount of money (P1, P2, P6, P7, P8)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.pair import Setting, Sleeving, Step, tell

_MICRO = 10**6
_kinds = st.sampled_from(
    ["fill"] * 10
    + ["trade"] * 6
    + ["trade_many"] * 3
    + ["end"] * 3
    + ["answer_cancels"] * 3
    + ["advance"] * 3
    + ["mark"] * 2
    + ["unfollow", "follow_again", "follow_new", "repeat", "late", "snapshot", "crash"]
)
_number = st.integers(0, 10_000)
_steps = st.lists(st.builds(Step, _kinds, _number, _number, _number), min_size=1, max_size=60)
_money = st.sampled_from([0, 1, 5 * _MICRO, 999_999_999, 10**10, 10**10 + 7, 10**12, 3 * 10**14])
_sleeves = st.builds(
    Sleeving,
    account=st.integers(0, 7),
    creator=st.integers(0, 2),
    cash=_money,
    mode=st.sampled_from(["proportional", "proportional", "fixed_amount", "multiplier"]),
    ratio=st.sampled_from([_MICRO, _MICRO, 1, 333_333, 770_000, 2_500_000, 30 * _MICRO, 10**9]),
    amount=st.sampled_from([1, 10**6, 250 * 10**6, 10**9 + 1]),
    max_order_notional=st.sampled_from([0, 0, 0, 1, 10**8, 10**9 + 3]),
    max_position_weight=st.sampled_from([0, 0, 0, 30_000, 500_001, 2_000_000]),
    allow_short=st.booleans(),
)
_instruments = st.lists(
    st.tuples(st.sampled_from([1, 100, 10**6, 10**8, 7]), st.sampled_from([0, 1, 10**6, 50 * 10**6])),
    min_size=1,
    max_size=3,
)
_settings = st.builds(
    Setting,
    instruments=_instruments,
    creators=st.lists(st.sampled_from([10**11, 10**9 + 1, 10**13, 0]), min_size=1, max_size=3),
    sleeves=st.lists(_sleeves, min_size=1, max_size=8),
    fee_rate=st.sampled_from([0, 0, 1000, 333]),
    part_rows=st.lists(st.sampled_from([1, 2, 3, 1000]), min_size=1, max_size=4),
    price=st.sampled_from([100 * _MICRO, 1_234_567, 3, 54_321 * _MICRO + 1]),
    quantity=st.sampled_from([10**8, 10**10, 123_456_789, 17]),
)


@settings(max_examples=200)
@given(setting=_settings, steps=_steps)
def test_engine_agrees_with_the_auditor(setting: Setting, steps: list[Step]) -> None:
    tell(setting, steps)
