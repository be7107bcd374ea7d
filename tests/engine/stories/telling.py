"""Telling a story: every step is taken in both worlds, and then everything that can be seen must
agree.
"""

from collections.abc import Callable

from tests.engine.stories.broker_steps import BrokerSteps
from tests.engine.stories.correction_steps import CorrectionSteps
from tests.engine.stories.creator_steps import CreatorSteps
from tests.engine.stories.pair import SECOND, Pair
from tests.engine.stories.setting import Setting, Step
from tests.engine.stories.subscription_steps import SubscriptionSteps


class Story:
    """A story under way; a step's kind is the name of the method that takes it."""

    def __init__(self, setting: Setting) -> None:
        self.pair = Pair(setting)
        creators, broker = CreatorSteps(self.pair), BrokerSteps(self.pair)
        subscriptions = SubscriptionSteps(self.pair)
        self._corrections = CorrectionSteps(self.pair, broker)
        self._steps: dict[str, Callable[[Step], None]] = {
            "fill": creators.fill,
            "correct_fill": creators.correct_fill,
            "mark": creators.mark,
            "trust": creators.trust,
            "trade": broker.trade,
            "end": broker.end,
            "resolve": broker.resolve,
            "answer_cancels": broker.answer_cancels,
            "trade_many": broker.trade_many,
            "repeat": broker.repeat,
            "late": broker.late,
            "correct": self._corrections.correct,
            "correct_again": self._corrections.correct_again,
            "unfollow": subscriptions.unfollow,
            "pause": subscriptions.pause,
            "bulk": subscriptions.bulk,
            "follow_again": subscriptions.follow_again,
            "follow_new": subscriptions.follow_new,
            "advance": self._advance,
            "snapshot": self._snapshot,
            "crash": self._crash,
        }

    def take(self, step: Step) -> None:
        """Take a step in both worlds and compare."""
        self._steps[step.kind](step)
        self.pair.compare(has_corrections=bool(self._corrections.corrections))

    def _advance(self, step: Step) -> None:
        self.pair.both("advance", (1, SECOND - 1, SECOND, 7 * SECOND, 61 * SECOND)[step.a % 5])

    def _snapshot(self, step: Step) -> None:
        for journaled in (self.pair.engine.creators, self.pair.engine.followers):
            journaled.take_snapshot()

    def _crash(self, step: Step) -> None:
        """Let both live shards die and recover (P6)."""
        self.pair.engine.check()
        self.pair.engine.creators.live_from_snapshot()
        self.pair.engine.followers.live_from_snapshot()


def tell(setting: Setting, steps: list[Step]) -> Pair:
    """Play a whole story, then demand P6."""
    story = Story(setting)
    for step in steps:
        story.take(step)
    story.pair.engine.check()
    return story.pair
