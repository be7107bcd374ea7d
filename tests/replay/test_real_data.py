"""The real data, where it is: disclosed trades and daily prices, followed by 2,000 accounts in
mixed modes.
"""

import time
from pathlib import Path

import pytest

from tests.replay.expected import InputFiles
from tests.replay.make_followers import make_followers
from tests.replay.runs import check, replay

DATA = Path(__file__).parents[3] / "shared" / "data"
SECONDS_MAX = 120.0


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data is not in {DATA}")
def test_two_thousand_followers_of_the_real_data_agree_with_the_auditor_to_the_last_unit(
    tmp_path: Path,
) -> None:
    followers = tmp_path / "followers.csv"
    make_followers(DATA / "creators.csv", followers, accounts=2000, seed=1)
    files = InputFiles(
        DATA / "creators.csv", followers, DATA / "fills.csv", DATA / "daily_prices.csv"
    )
    began_s = time.monotonic()
    done = replay(files, tmp_path / "out")
    taken_s = time.monotonic() - began_s
    assert done.returncode == 0, done.stdout + done.stderr
    assert taken_s < SECONDS_MAX
    expected = check(files, tmp_path / "out")
    assert len({account for account, _ in expected.state.sleeves}) == 2000
    assert len(expected.orders) > 30_000
