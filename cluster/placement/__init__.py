"""Placement: which host runs which shards, on which Ray."""
