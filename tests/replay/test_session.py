"""The configuration that a replay's cluster runs with."""

from cluster.config.options import Config, MarkOptions
from cluster.replay.session import replay_config


def test_a_replay_values_everything_at_its_own_prices() -> None:
    """No other source publishes in it."""
    config = Config(marks=MarkOptions(source="market_data"))
    assert replay_config(config, []).marks.source == ""
