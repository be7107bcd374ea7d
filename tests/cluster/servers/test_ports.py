"""The ports of embedded servers."""

import socket

from cluster.servers.ports import choose_port


def test_chosen_port_is_free_and_below_the_outgoing_range() -> None:
    with socket.socket() as held:
        port = choose_port()
        held.bind(("127.0.0.1", port))
        assert port < 32_768
        assert choose_port(preferred=port) != port
    assert choose_port(preferred=port) == port
