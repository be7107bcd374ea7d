"""A follower shard decides the waiting signals of different books in one batch, from whatever
frames. Signals of one book are decided in turn (P4).
"""

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from engine.journal.events.orders import SignalDecided
from engine.journal.events.subscriptions import InstrumentsLearned
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import Follow, OpenAccount
from tests.actors.memory_shards import MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
CREATORS = ("anna", "bert", "carl")


async def started() -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    """Three creators with a follower each have bought AAA."""
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    for name in CREATORS:
        await shards.open_creator(creator, name)
    await turns(follower)
    for name in CREATORS:
        account = f"of-{name}"
        await command(
            follower,
            OpenAccount(f"open-{name}", account),
            Follow(f"follow-{name}", account, name, 10**10),
        )
    await filled(shards, creator, "anna", "AAA")
    await turns(follower)
    return shards, creator, follower


async def filled(shards: MemoryShards, creator: CreatorShardActor, name: str, symbol: str) -> None:
    """Let a creator's fill arrive in a frame of its own."""
    await shards.publish(f"fills.paper.{name}", shards.fill(symbol))
    await turns(creator)


def passes(follower: FollowerShardActor) -> int:
    return follower.core.counts.signal_passes


async def test_signals_of_different_frames_and_books_share_a_pass_and_a_frame() -> None:
    shards, creator, follower = await started()
    before, frames = passes(follower), len(shards.frames(FOLLOWER))
    for name in CREATORS:
        await filled(shards, creator, name, "AAA")
    await turns(follower)
    assert passes(follower) == before + 1
    (frame,) = shards.frames(FOLLOWER)[frames:]
    assert [(type(event), event.signal) for event in frame] == [
        (SignalDecided, signal) for signal in (2, 3, 4)
    ]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_signals_of_one_book_are_decided_one_after_the_other() -> None:
    shards, creator, follower = await started()
    before = passes(follower)
    for name in ("anna", "bert", "anna"):
        await filled(shards, creator, name, "AAA")
    await turns(follower)
    assert passes(follower) == before + 2
    assert [event.signal for event in shards.events(FOLLOWER, SignalDecided)] == [1, 2, 3, 4]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_signals_before_a_new_instrument_are_decided_before_it_is_learned() -> None:
    shards, creator, follower = await started()
    before, frames = passes(follower), len(shards.frames(FOLLOWER))
    await filled(shards, creator, "anna", "AAA")
    await filled(shards, creator, "bert", "NEW")
    await turns(follower)
    assert passes(follower) == before + 2
    (frame,) = shards.frames(FOLLOWER)[frames:]
    assert [type(event) for event in frame] == [SignalDecided, InstrumentsLearned, SignalDecided]
    assert hash_of(await shards.follower()) == hash_of(follower)
