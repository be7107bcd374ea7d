"""The rules of the broker protocol, a module for each part of it. `suite.py` lists them all."""
