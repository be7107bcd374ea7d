"""A follower shard decides the signals of different books that lie before it in one pass, whatever
frames they came in, and only those
(P4).
"""

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from engine.journal.events.orders import SignalDecided
from engine.journal.events.subscriptions import InstrumentsLearned
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import Follow, OpenAccount
from tests.faults.adversarial.stage import Stage, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CREATORS = ("anna", "bert", "carl")


async def started() -> tuple[Stage, CreatorShardActor, FollowerShardActor]:
    """Three creators with a follower each have bought AAA."""
    stage = Stage()
    creator, follower = await stage.creator(), await stage.follower()
    for name in CREATORS:
        await stage.open_creator(creator, name)
    await turns(follower)
    for name in CREATORS:
        account = f"of-{name}"
        await command(
            follower,
            OpenAccount(f"open-{name}", account),
            Follow(f"follow-{name}", account, name, 10**10),
        )
    await filled(stage, creator, "anna", "AAA")
    await turns(follower)
    return stage, creator, follower


async def filled(stage: Stage, creator: CreatorShardActor, name: str, symbol: str) -> None:
    """Let a creator's fill arrive in a frame of its own."""
    await stage.publish(f"fills.paper.{name}", stage.fill(symbol))
    await turns(creator)


def passes(follower: FollowerShardActor) -> int:
    return follower.core.counts.signal_passes


async def test_signals_of_different_frames_and_books_share_a_pass_and_a_frame() -> None:
    stage, creator, follower = await started()
    before, frames = passes(follower), len(stage.frames(FOLLOWER))
    for name in CREATORS:
        await filled(stage, creator, name, "AAA")
    await turns(follower)
    assert passes(follower) == before + 1
    (frame,) = stage.frames(FOLLOWER)[frames:]
    assert [(type(event), event.signal) for event in frame] == [
        (SignalDecided, signal) for signal in (2, 3, 4)
    ]
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_signals_of_one_book_are_decided_one_after_the_other() -> None:
    stage, creator, follower = await started()
    before = passes(follower)
    for name in ("anna", "bert", "anna"):
        await filled(stage, creator, name, "AAA")
    await turns(follower)
    assert passes(follower) == before + 2
    assert [event.signal for event in stage.events(FOLLOWER, SignalDecided)] == [1, 2, 3, 4]
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_what_came_before_a_new_instrument_is_decided_before_it_is_learned() -> None:
    stage, creator, follower = await started()
    before, frames = passes(follower), len(stage.frames(FOLLOWER))
    await filled(stage, creator, "anna", "AAA")
    await filled(stage, creator, "bert", "NEW")
    await turns(follower)
    assert passes(follower) == before + 2
    (frame,) = stage.frames(FOLLOWER)[frames:]
    assert [type(event) for event in frame] == [SignalDecided, InstrumentsLearned, SignalDecided]
    assert hash_of(await stage.follower()) == hash_of(follower)
