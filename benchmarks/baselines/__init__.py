"""Baselines that Lockstep is compared with, one module each, each at a size that it can bear.

None of them uses code of the engine or the actors.
"""
