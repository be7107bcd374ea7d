"""Steps of a story that begin, pause and end subscriptions."""

from engine.messages.commands import AccountCommand, Follow, Unfollow
from engine.values.refusals import Refused
from tests.engine.stories.pair import GOES_ON, Pair
from tests.engine.stories.setting import Sleeving, Step, terms_of
from tests.engine.world.follower_side import follow_terms


class SubscriptionSteps:
    """The steps of those who follow."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._engine = pair.engine
        self._reference = pair.reference
        self._setting = pair.setting
        self._bulks_count = 0

    def unfollow(self, step: Step) -> None:
        """End a subscription."""
        if self._pair.followed:
            pair = self._pair.followed[step.a % len(self._pair.followed)]
            if self._pair.status(pair) in GOES_ON:
                self._pair.both("unfollow", *pair)

    def pause(self, step: Step) -> None:
        """Pause a subscription, or resume a paused one."""
        if self._pair.followed:
            pair = self._pair.followed[step.a % len(self._pair.followed)]
            if self._pair.status(pair) in GOES_ON:
                self._pair.both("pause", *pair, is_paused=self._pair.status(pair) == "active")

    def bulk(self, step: Step) -> None:
        """End and begin subscriptions in one batch, some of them more than once: as if each command
        had come alone.
        """
        commands: list[AccountCommand] = []
        expected = []
        self._bulks_count += 1
        for number, sleeve in enumerate(self._setting.sleeves * 2):
            pair = f"a{sleeve.account}", f"c{sleeve.creator % len(self._setting.creators)}"
            if not (step.b >> number) & 1 or pair not in self._pair.followed:
                continue
            # An id of an earlier batch would be answered as that was.
            status, name = self._pair.status(pair), f"bulk-{self._bulks_count}-{len(commands)}"
            if status == "ended":
                commands.append(self._follow_command(name, pair, sleeve))
                self._reference.follow(*pair, terms_of(sleeve))
            else:
                commands.append(Unfollow(name, *pair))
                if status in GOES_ON:
                    self._reference.unfollow(*pair)
            expected.append(status)
        if commands:
            answers = self._engine.follower_side.decide_commands(commands)
            refused = [isinstance(answer, Refused) for answer in answers]
            assert refused == [status == "ending" for status in expected]

    @staticmethod
    def _follow_command(name: str, pair: tuple[str, str], sleeve: Sleeving) -> Follow:
        return Follow(name, *pair, **follow_terms(terms_of(sleeve)))

    def follow_again(self, step: Step) -> None:
        """Follow again as in the setting."""
        if self._setting.sleeves:
            self._pair.follow(self._setting.sleeves[step.a % len(self._setting.sleeves)])

    def follow_new(self, step: Step) -> None:
        """Follow with an account that the setting does not have."""
        if self._setting.sleeves:
            sleeve = self._setting.sleeves[step.a % len(self._setting.sleeves)]
            self._pair.follow(sleeve._replace(account=sleeve.account + 10 + step.b % 3))
