"""The figures of the baselines' processes are told apart from everything else that they print."""

import io
import sys

import msgspec
import pytest

from benchmarks.baselines import ray_actors
from benchmarks.baselines.servers import run_json
from cluster.errors import ClusterError


class Nothing(msgspec.Struct):
    """No options."""


async def test_a_process_that_prints_no_figures_is_named_with_what_it_printed() -> None:
    with pytest.raises(ClusterError, match="this: expected figures, found b'The Zen of Python"):
        await run_json("this", Nothing())


async def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(ClusterError, match="no_such_module: expected figures, found exit code 1"):
        await run_json("no_such_module", Nothing())


def test_output_of_ray_is_not_taken_for_figures(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Ray prints a warning about the number of workers on stdout."""

    def join_and_call(options: ray_actors.Options) -> dict[str, float]:
        print("(raylet) WARNING: many workers")
        return {"actors": float(options.actors)}

    options = msgspec.json.encode(ray_actors.Options("127.0.0.1:1", 16))
    monkeypatch.setattr(ray_actors, "join_and_call", join_and_call)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(options)))
    ray_actors.main()
    sys.stdout.flush()
    assert msgspec.json.decode(capfdbinary.readouterr().out) == {"actors": 16.0}
