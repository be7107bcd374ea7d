"""Servers for the process tests."""

from tests.servers import nats_server as nats_server
from tests.servers import own_nats_server as own_nats_server
