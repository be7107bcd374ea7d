"""The actors: plain classes that take a batch, call the engine, journal, and hand on.

They know the outside only through the ports in `actors.ports`. Only `actors.host.ray_actors` knows
Ray.
"""
