"""The actors: plain classes that take a batch, call the engine, journal, and hand on.

They know the outside only as the ports in `actors.ports`; `actors.host.ray_actors` alone knows Ray.
"""
