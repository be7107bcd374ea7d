"""A book knows its creator's marks and positions, as far as signals that it answered told."""

from msgspec.structs import replace

from engine.columns.snapshot import decode_snapshot
from engine.columns.state_copy import encode_copy
from engine.follower.book import Book
from engine.follower.shard import FollowerShard
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import decode_frame
from engine.values.units import POSITION_UNKNOWN
from tests.engine.world.engine_world import EngineWorld
from tests.reference.values import SleeveTerms

PRICE = 10**6


def world_with(*accounts: str, part_rows: int = 1000) -> EngineWorld:
    world = EngineWorld(part_rows=lambda: part_rows)
    for symbol in ("S0", "S1"):
        world.list_instrument(symbol, lot=1, min_notional=0)
    world.open_creator("carla", cash=10**12)
    for account in accounts:
        world.follow(account, "carla", SleeveTerms(cash=10**10, allow_short=True))
    return world


def book_of(shard: FollowerShard) -> Book:
    (book,) = shard.state.books
    return book


def test_a_position_is_known_after_every_leg() -> None:
    world = world_with("a", "b", "c", part_rows=2)
    steps = [("S0", 1, 500), ("S0", -1, 200), ("S1", -1, 30), ("S0", -1, 400), ("S0", 1, 100)]
    positions = {0: 0, 1: 0}
    for symbol, side, quantity in steps:
        world.fill("carla", symbol, side, quantity, PRICE)
        positions[int(symbol[1])] += side * quantity
        book = book_of(world.followers.live)
        known = {number: held for number, held in positions.items() if number in book.slot_of}
        assert book.creator_positions == known
        assert book.creator_positions == {
            number: held
            for number, held in world.creators.live.creators[0].positions.items()
            if number in book.slot_of
        }
    world.check()


def test_the_legs_of_a_crossing_end_flat_and_then_on_the_other_side() -> None:
    world = world_with("a")
    world.fill("carla", "S0", 1, 500, PRICE)
    frames = len(world.followers.frames)
    world.fill("carla", "S0", -1, 800, PRICE)
    read = [decode_frame(frame)[1] for frame in world.followers.frames[frames:]]
    told = [each for events in read for each in events if isinstance(each, SignalDecided)]
    assert [(each.leg, each.creator_position) for each in told] == [(0, 0), (1, -300)]


def test_a_correction_of_a_fill_corrects_the_position() -> None:
    world = world_with("a")
    world.fill("carla", "S0", 1, 500, PRICE)
    world.correct_fill("carla", "S0", 1, "fill-1", quantity=300, price=PRICE, is_cancel=False)
    assert book_of(world.followers.live).creator_positions == {0: 300}


def test_marks_of_instruments_that_the_book_has_no_slot_for_are_left_out() -> None:
    world = world_with()
    world.fill("carla", "S0", 1, 500, PRICE)
    world.follow("a", "carla", SleeveTerms(cash=10**10))
    world.fill("carla", "S1", 1, 70, 2 * PRICE)
    book = book_of(world.followers.live)
    assert (book.marks, book.creator_positions) == ({1: 2 * PRICE}, {1: 70})


def test_a_frame_that_is_older_than_the_field_leaves_the_position_unknown() -> None:
    """Such a frame after a newer one means that the known position is out of date."""
    world = world_with("a")
    world.fill("carla", "S0", 1, 500, PRICE)
    live = world.followers.live
    assert book_of(live).creator_positions == {0: 500}
    (told,) = [
        each
        for frame in world.followers.frames
        for each in decode_frame(frame)[1]
        if isinstance(each, SignalDecided)
    ]
    live.apply_event(replace(told, signal=2, creator_position=POSITION_UNKNOWN))
    assert book_of(live).creator_positions == {}
    assert book_of(live).slots[0].creator_position == POSITION_UNKNOWN


def test_positions_are_in_snapshots() -> None:
    world = world_with("a")
    world.fill("carla", "S0", -1, 500, PRICE)
    shard, restored = FollowerShard(0), FollowerShard(0)
    shard.apply_frames([decode_frame(frame) for frame in world.followers.frames])
    restored.restore(decode_snapshot(encode_copy(shard.copy()), shard.schema))
    assert book_of(restored).creator_positions == {0: -500}
