"""The creator shard's actor: fills, marks and creator commands in, signals out."""
