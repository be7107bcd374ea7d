"""Whole journals as columns: every fill, decision, order and execution of a shard, for audits,
replays, benchmarks and projections.

`creators`, `followers` and `gateways` fold a shard's frames into tables, frame by frame; `outcomes`
says what became of every order. These folds are pure. `actors.history_reader` reads the frames;
`storage` says where the columns are kept.

This is the one room of the engine that knows more than one machine. No machine knows this room.
"""
