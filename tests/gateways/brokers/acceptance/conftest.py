"""Servers for the suite against processes."""

from tests.servers import nats_server as nats_server
from tests.servers import own_nats_server as own_nats_server
