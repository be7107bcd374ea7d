"""Where processes listen, as the operating system sees it."""

import contextlib
from collections.abc import Iterable

import psutil


def listening_addresses(processes: Iterable[psutil.Process]) -> set[str]:
    """Read the IP addresses that processes listen on; one that ends meanwhile (a server's
    short-lived worker) listens nowhere.
    """
    addresses = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add(connection.laddr.ip.removeprefix("::ffff:"))
    return addresses
