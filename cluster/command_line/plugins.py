"""Commands that other packages bring along, found by their entry point in the group
`lockstep.commands`.

So the command line knows no package above it. The benchmark harness registers `bench` itself.
"""

from collections.abc import Callable
from importlib.metadata import entry_points

from cluster.errors import UsageError

GROUP = "lockstep.commands"


def load_command(name: str) -> Callable[[list[str]], int]:
    """Load a command's function, from its arguments to its exit code.

    Raises: UsageError when no package brings it, or a package that it needs is missing.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise UsageError(
            f"{name}: expected an installed package with this "
            "command, found none; install lockstep again"
        )
    try:
        command: Callable[[list[str]], int] = found[0].load()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{name}: expected its packages, found no {error.name}; "
            f"install lockstep with its extra `{name}`"
        ) from None
    return command
