"""Random stories: the engine agrees with the auditor on every disposition, order, position and
amount of money (P1, P2, P6, P7, P8).
"""

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from engine.columns.state_copy import PREFIX
from tests.engine.stories.setting import Setting, Sleeving, Step
from tests.engine.stories.telling import tell

_MICRO = 10**6
# A story that fails is shown as it is: shortening one takes many minutes. Add Phase.shrink to do
# that.
_PHASES = (Phase.explicit, Phase.generate)
_kinds = st.sampled_from(
    ["fill"] * 10
    + ["trade"] * 6
    + ["trade_many"] * 3
    + ["end"] * 3
    + ["resolve"] * 2
    + ["answer_cancels"] * 3
    + ["advance"] * 3
    + ["mark"] * 3
    + ["trust"]
    + ["correct"] * 4
    + ["correct_fill"] * 2
    + ["correct_again"]
    + [
        "unfollow",
        "follow_again",
        "follow_new",
        "bulk",
        "pause",
        "repeat",
        "late",
        "snapshot",
        "crash",
    ]
)
_number = st.integers(0, 10_000)
_steps = st.lists(st.builds(Step, _kinds, _number, _number, _number), min_size=8, max_size=60)
_corrected_kinds = st.sampled_from(
    ["correct"] * 6
    + ["correct_fill"] * 4
    + ["fill"] * 4
    + ["trade", "trade_many", "trade_many"] * 2
    + [
        "end",
        "resolve",
        "answer_cancels",
        "advance",
        "unfollow",
        "follow_again",
        "correct_again",
        "repeat",
        "late",
        "crash",
    ]
)
_corrected_steps = st.lists(
    st.builds(Step, _corrected_kinds, _number, _number, _number), min_size=25, max_size=60
)
_marked_kinds = st.sampled_from(
    ["mark"] * 6
    + ["fill"] * 4
    + ["trust"] * 3
    + ["trade_many", "correct_fill", "advance", "unfollow", "snapshot", "crash"]
)
_marked_steps = st.lists(
    st.builds(Step, _marked_kinds, _number, _number, _number), min_size=15, max_size=50
)
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
    st.tuples(
        st.sampled_from([1, 100, 10**6, 10**8, 7]), st.sampled_from([0, 1, 10**6, 50 * 10**6])
    ),
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
    brokers=st.sampled_from([("paper", "other"), ("paper",)]),
)


def _affordable_to_audit(setting: Setting) -> Setting:
    # The auditor finds what cash covers with a fee lot by lot, which at a price of some micros
    # takes for ever.
    return setting._replace(fee_rate=0) if setting.price < _MICRO else setting


@settings(max_examples=250, phases=_PHASES)
@given(setting=_settings.map(_affordable_to_audit), steps=_steps)
def test_engine_agrees_with_the_auditor(setting: Setting, steps: list[Step]) -> None:
    tell(setting, steps)


@settings(max_examples=100, phases=_PHASES)
@given(setting=_settings.map(_affordable_to_audit), steps=_marked_steps)
def test_p11_marks_of_two_brokers_and_of_a_trusted_one_agree_with_the_auditor(
    setting: Setting, steps: list[Step]
) -> None:
    tell(setting._replace(brokers=("paper", "other")), steps)


@settings(max_examples=100, phases=_PHASES)
@given(setting=_settings.map(_affordable_to_audit), steps=_corrected_steps)
def test_trades_cancelled_and_corrected_at_any_time_agree_with_the_auditor(
    setting: Setting, steps: list[Step]
) -> None:
    """Late, twice, before others, after the order closed or the subscription ended, and across zero
    (P1, P6, P7, P8).
    """
    tell(setting, steps)


@settings(max_examples=40, phases=_PHASES)
@given(setting=_settings.map(_affordable_to_audit), steps=_steps)
def test_the_size_of_parts_changes_nothing(setting: Setting, steps: list[Step]) -> None:
    """States differ only in their cursors and in the groups of open orders and follow-ups, which
    `tell` compares (P2, P6).
    """
    states = []
    for part_rows in (1, 3, 1000):
        state = tell(setting._replace(part_rows=[part_rows]), steps).engine.followers.live.columns()
        states.append(
            {name: column.tolist() for name, column in state.items() if name != "cursors"}
        )
    assert all(any(name.startswith(PREFIX) for name in state) for state in states)
    for name in states[0]:
        if not name.startswith(("order.", "follow_up.")):
            assert states[0][name] == states[1][name] == states[2][name], name
