"""Baselines that Lockstep is compared with, one module each, each at a size it can bear."""
