"""Broker programs: what stands on the broker's side of the broker protocol."""
