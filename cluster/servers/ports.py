"""Choosing TCP ports that stay usable when a server is started again.

Ports are taken from below the range that the system uses for outgoing connections. Inside that
range a client that reconnects to a killed server might get the server's port as its source. It
would connect to itself and keep the server from coming back.
"""

import random
import socket
from pathlib import Path

from cluster.errors import ServerError

PORT_MIN = 20_000
PORT_MAX = 32_000
TRIES = 200


def choose_port(preferred: int | None = None) -> int:
    """Return a free loopback port, the preferred one if it is free. Raises: ServerError when none
    is found.
    """
    if preferred is not None and _is_free(preferred):
        return preferred
    highest = min(PORT_MAX, _outgoing_first() - 1)
    lowest = min(PORT_MIN, max(1024, highest - 10_000))
    generator = random.SystemRandom()
    for _ in range(TRIES):
        port = generator.randint(lowest, highest)
        if _is_free(port):
            return port
    raise ServerError(
        f"expected a free loopback port between {lowest} and {highest}, found none in {TRIES} tries"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this too. Without it a port whose last connection is in TIME_WAIT looks taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _outgoing_first() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return PORT_MAX + 1
