"""Stories in which the engine once differed from the auditor, shortened; each names what went wrong
(P1, P2, P7).
"""

import pytest

from tests.engine.stories.setting import Setting, Sleeving, Step
from tests.engine.stories.telling import tell

_MICRO = 10**6


def _sleeve(account: int, cash: int, **changes: object) -> Sleeving:
    plain = Sleeving(account, 0, cash, "proportional", _MICRO, 1, 0, 0, True)
    return plain._replace(**changes)  # type: ignore[arg-type]


def _setting(*sleeves: Sleeving, **changes: object) -> Setting:
    plain = Setting([(1, 0)], [10**11], list(sleeves), 0, [1000], 100 * _MICRO, 10**8)
    return plain._replace(**changes)  # type: ignore[arg-type]


STORIES = {
    "a small ratio brings a share back in range": (
        _setting(
            _sleeve(3, 3 * 10**14, ratio=333_333, max_order_notional=10**8),
            creators=[1_000_000_001],
            quantity=10**10,
        ),
        [Step("fill", 8911, 8234, 9132)],
    ),
    "a trade across zero costs the notional of the part beyond": (
        _setting(
            _sleeve(6, 10**10 + 7, mode="multiplier", ratio=2_500_000, max_position_weight=30_000),
            instruments=[(10**8, 10**6)],
            creators=[10**13],
        ),
        [
            Step("mark", 3120, 4093, 5457),
            Step("mark", 6703, 3988, 8141),
            Step("fill", 6386, 3402, 9659),
            Step("fill", 8994, 5485, 3527),
            Step("trade", 5815, 4088, 5416),
            Step("end", 4323, 8287, 5614),
            Step("fill", 7036, 6753, 1998),
            Step("trade", 1719, 216, 1863),
        ],
    ),
    "unfollow between a close and an opposite entry": (
        _setting(
            _sleeve(
                3, 3 * 10**14, ratio=30 * _MICRO, max_order_notional=1, max_position_weight=500_001
            ),
            instruments=[(100, 50 * _MICRO), (1, 1), (1, 0)],
            price=1_234_567,
        ),
        [
            Step("fill", 1677, 6138, 308),
            Step("trade_many", 6440, 2501, 2877),
            Step("fill", 8585, 3244, 2891),
            Step("unfollow", 4318, 5353, 4783),
        ],
    ),
    "unfollow with an exit larger than what is left to close": (
        _setting(
            _sleeve(
                4,
                10**10,
                mode="multiplier",
                ratio=770_000,
                max_position_weight=2 * _MICRO,
                allow_short=False,
            ),
            _sleeve(
                6,
                999_999_999,
                ratio=770_000,
                max_order_notional=10**9 + 3,
                max_position_weight=500_001,
            ),
            _sleeve(5, 3 * 10**14, max_position_weight=30_000, allow_short=False),
            _sleeve(
                0,
                3 * 10**14,
                mode="multiplier",
                ratio=30 * _MICRO,
                max_order_notional=1,
                max_position_weight=30_000,
            ),
            instruments=[(100, 50 * _MICRO), (10**8, 0)],
            part_rows=[3],
            price=54_321_000_001,
        ),
        [
            Step("follow_new", 8712, 296, 4817),
            Step("fill", 4912, 5817, 1730),
            Step("trade_many", 1340, 9095, 6658),
            Step("mark", 2736, 2446, 8317),
            Step("unfollow", 5180, 569, 7494),
            Step("fill", 2741, 3774, 519),
            Step("fill", 5426, 242, 3506),
            Step("end", 3723, 4278, 4118),
            Step("fill", 9865, 6725, 258),
            Step("fill", 2035, 8813, 5493),
            Step("trade_many", 9791, 3626, 1622),
            Step("follow_new", 5191, 4868, 339),
            Step("end", 5148, 3014, 6723),
            Step("unfollow", 1525, 8144, 8471),
        ],
    ),
    "the proceeds of several shorts at once": (
        _setting(
            _sleeve(7, 10**10, mode="multiplier", ratio=770_000),
            _sleeve(6, 999_999_999, ratio=30 * _MICRO, max_position_weight=2 * _MICRO),
            instruments=[(1, 1)],
            creators=[10**13],
        ),
        [
            Step("fill", 695, 4102, 4749),
            Step("fill", 8549, 3438, 4828),
            Step("answer_cancels", 4855, 4981, 3078),
            Step("fill", 7986, 390, 5833),
            Step("trade_many", 3209, 6132, 5153),
            Step("fill", 1552, 6923, 7527),
        ],
    ),
    "an entry across zero ends after the exit that it made up for": (
        _setting(
            _sleeve(3, 10**12, mode="fixed_amount", amount=10**9 + 1, max_order_notional=10**9 + 3),
            _sleeve(1, 10**9, allow_short=False),
            instruments=[(1, 0), (7, 0)],
            creators=[10**9 + 1],
            part_rows=[3],
            quantity=123_456_789,
        ),
        [
            Step("fill", 418, 1989, 9380),
            Step("fill", 7596, 3405, 7694),
            Step("trade_many", 1923, 3719, 7443),
            Step("fill", 7947, 5074, 7661),
            Step("trade", 6860, 3703, 7863),
            Step("end", 7501, 1081, 3583),
            Step("end", 3893, 5229, 2079),
            Step("advance", 8342, 7060, 3030),
        ],
    ),
    "an exit that is worked again ends after the attempt that came after it": (
        _setting(
            _sleeve(4, 5_000_000, creator=2, max_order_notional=1_000_000_003, allow_short=False),
            _sleeve(5, 5_000_000, creator=2, ratio=1, amount=1_000_000_001),
            instruments=[(100, _MICRO)],
            creators=[10**13, 0, 0],
            price=54_321 * _MICRO + 1,
        ),
        [
            Step("fill", 23, 7609, 3590),
            Step("fill", 3767, 231, 2957),
            Step("fill", 6737, 614, 144),
            Step("trade_many", 4095, 579, 325),
            Step("correct_fill", 9696, 8002, 142),
            Step("correct", 247, 100, 942),
            Step("trade", 368, 3986, 1047),
            Step("trade", 603, 1292, 6070),
            Step("trade_many", 1184, 835, 220),
            Step("trade_many", 648, 5662, 3257),
            Step("advance", 98, 4068, 259),
            Step("correct", 232, 20, 8808),
            Step("end", 38, 229, 1612),
            Step("advance", 273, 93, 2103),
        ],
    ),
    "a decrease while all of it is to be left leaves a rest below the lot too": (
        _setting(
            _sleeve(3, 10**12, mode="multiplier", amount=1_000_000_001),
            instruments=[(_MICRO, 1)],
            fee_rate=1000,
            part_rows=[2, 1, 2],
            price=54_321 * _MICRO + 1,
        ),
        [
            Step("fill", 9347, 3138, 3364),
            Step("fill", 228, 6803, 9278),
            Step("correct_fill", 4986, 1341, 7566),
            Step("trade", 2691, 9956, 159),
            Step("fill", 5071, 2494, 2652),
            Step("end", 5463, 8761, 1326),
            Step("correct", 5069, 6112, 1350),
            Step("answer_cancels", 1881, 9723, 9117),
            Step("end", 8755, 8690, 4708),
            Step("fill", 6249, 366, 4070),
            Step("trade", 5466, 3695, 1603),
        ],
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_engine_agrees_with_the_auditor_on_a_remembered_story(name: str) -> None:
    tell(*STORIES[name])
