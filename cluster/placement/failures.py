"""What an operator reads of a shard that failed."""


def failure_of(error: str, pid: int) -> str:
    """Return a sentence that says why a shard of a host failed and what an operator can do."""
    return (
        f"{error}; it stays stopped while the others go on: mend that, then end "
        f"process {pid}, and its shards are started again"
    )
