"""Golden snapshots: a snapshot of any layout restores to the state of its journal. Today's state is
written as the same bytes for ever (P6).

`golden/snapshot_layout<N>_<kind>.bin` is a snapshot that a version of layout N wrote, with the
frames of its journal beside it. No file there is ever changed. An added form gets new files, with a
name of its own after the kind. `python -m tests.engine.test_golden_snapshots` writes the missing
ones of the present layout, from the story in `tests.engine.snapshot_story`.
"""

import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.broker_gateway.shard import GatewayShard
from engine.columns.snapshot import LAYOUT_MIN, STATE_LAYOUT, decode_snapshot
from engine.columns.state import encode_state, state_hash
from engine.columns.state_copy import encode_copy
from engine.creator.shard import CreatorShard
from engine.follower.shard import FollowerShard
from engine.journal.frame import decode_frame
from engine.values.instruments import InstrumentTerms
from tests.engine.journaled import Shard
from tests.engine.snapshot_story import StoryFrames, told

GOLDEN = Path(__file__).parent / "golden"
KINDS = StoryFrames._fields
LAYOUTS = range(LAYOUT_MIN, STATE_LAYOUT + 1)
ADDED = ("creator_marks", "gateway_ledger")
"""Forms of the present layout with columns that its first snapshots do not have: the marks of
each broker, and the frames whose orders a broker's ledger has.
"""
FORMS = [
    *((layout, kind) for layout in LAYOUTS for kind in KINDS),
    *((STATE_LAYOUT, form) for form in ADDED),
]
"""Every golden snapshot, by layout and form."""
HASHES = {
    (3, "creator"): "9bb7a09d90c74353348453ee57fc2ae7a037106cb30d11efb33d7924a6f2d488",
    (3, "follower"): "d57ad47b9296caf287134024cf371dba7209321f36ecdc5d3277aaeb1f143dc5",
    (3, "gateway"): "b5280544593c091a194539c704b3e0cdea514f29845c09a6347a6c48c057bc32",
}
"""The hashes of these states as the version of layout 3 told them: the hash of a state does not
depend on how its snapshot is written.
"""


def _file(layout: int, form: str, what: str = "") -> Path:
    return GOLDEN / f"snapshot_layout{layout}_{form}{what}.bin"


def _kind(form: str) -> str:
    return form.partition("_")[0]


def _story(layout: int, form: str) -> StoryFrames:
    """Read the frames behind a snapshot, and those of the other kinds beside it."""
    names = (form if kind == _kind(form) else kind for kind in KINDS)
    packed = (_file(layout, name, "_frames").read_bytes() for name in names)
    return StoryFrames(*(msgspec.msgpack.decode(zlib.decompress(data)) for data in packed))


def _gateway(story: StoryFrames) -> GatewayShard:
    """Replay a gateway's journal, and read the follower's frames as far as they are answered."""
    shard = GatewayShard()
    for frame in story.gateway:
        shard.apply(*decode_frame(frame))
    for sequence, frame in enumerate(story.follower[: shard.answered_sequence], 1):
        shard.view(0).chain.accept(frame)
        for event in decode_frame(frame)[1]:
            shard.view(0).learn(event)
        shard.read_sequence = sequence
        shard.mark()
    shard.pass_marks(shard.answered_sequence)
    return shard


_NEW: dict[str, Callable[[], Shard]] = {
    "creator": lambda: CreatorShard({}, InstrumentTerms(1, 0)),
    "follower": lambda: FollowerShard(0),
    "gateway": GatewayShard,
}


def _replayed(story: StoryFrames, kind: str) -> Shard:
    if kind == "gateway":
        return _gateway(story)
    shard = _NEW[kind]()
    for frame in getattr(story, kind):
        shard.apply(*decode_frame(frame))
    return shard


def _restored(data: bytes, kind: str) -> Shard:
    shard = _NEW[kind]()
    shard.restore(decode_snapshot(data, shard.schema))
    return shard


@pytest.mark.parametrize(("layout", "form"), FORMS)
def test_a_snapshot_of_every_layout_restores_to_the_state_of_its_journal(
    layout: int, form: str
) -> None:
    restored = _restored(_file(layout, form).read_bytes(), _kind(form))
    replayed = _replayed(_story(layout, form), _kind(form))
    assert encode_state(restored.columns()) == encode_state(replayed.columns())
    assert encode_copy(restored.copy()) == encode_copy(replayed.copy())
    expected = HASHES.get((layout, form))
    assert expected is None or state_hash(restored.columns()).hex() == expected


@pytest.mark.parametrize("form", [*KINDS, *ADDED])
def test_the_same_state_gives_the_same_snapshot(form: str) -> None:
    replayed = _replayed(_story(STATE_LAYOUT, form), _kind(form))
    assert encode_copy(replayed.copy()) == _file(STATE_LAYOUT, form).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_of_layout_3_is_the_hashed_columns(kind: str) -> None:
    data = _file(3, kind).read_bytes()
    assert encode_state(_restored(data, kind).columns()) == data


def test_the_golden_states_fill_every_column() -> None:
    """Else a layout could lose a column that no golden snapshot has."""
    missing = {kind: _NEW[kind]().schema.columns for kind in KINDS}
    for form in (*KINDS, *ADDED):
        shard = _restored(_file(STATE_LAYOUT, form).read_bytes(), _kind(form))
        missing[_kind(form)] -= {
            ".".join("#" if part.isdigit() else part for part in name.split("."))
            for name, column in shard.columns().items()
            if len(column)
        }
    assert missing == {kind: frozenset() for kind in KINDS}


def test_every_golden_snapshot_is_checked() -> None:
    expected = {_file(layout, form, what) for layout, form in FORMS for what in ("", "_frames")}
    assert set(GOLDEN.glob("snapshot_*.bin")) == expected


def _write_missing() -> None:
    story = told()
    for form in (*KINDS, *ADDED):
        frames = zlib.compress(msgspec.msgpack.encode(getattr(story, _kind(form))), 9)
        snapshot = encode_copy(_replayed(story, _kind(form)).copy())
        for what, data in (("_frames", frames), ("", snapshot)):
            path = _file(STATE_LAYOUT, form, what)
            if not path.exists():
                path.write_bytes(data)
                print(f"wrote {path}")


if __name__ == "__main__":
    _write_missing()
