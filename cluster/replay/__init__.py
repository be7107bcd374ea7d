"""`lockstep replay`: recorded fills through an embedded cluster, audited, with everything that
every account did written to files.

All input is checked before anything is started. Exit codes: 0 done and the audit passed, 1 the run
or the audit failed, 2 wrong input.
"""

from pathlib import Path

from cluster.config.options import Config
from cluster.replay.inputs import read_inputs
from cluster.terminal.log_format import LogFormat


def run(
    *,
    creators: Path,
    followers: Path,
    fills: Path,
    prices: Path | None,
    instruments: Path | None,
    out: Path,
    config: Config,
    log_format: LogFormat | None = None,
) -> int:
    """Replay the files into OUT. Returns: the exit code. Raises: UsageError for wrong input,
    ClusterError for a failed run.
    """
    inputs = read_inputs(
        creators=creators, followers=followers, fills=fills, prices=prices, instruments=instruments
    )
    # The modules that start a cluster are loaded only for input that can be replayed.
    from cluster.replay.command import replay

    return replay(inputs, out, config, log_format)
